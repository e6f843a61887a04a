"""Checkpoints from where a recipe says they are, and none that was not verified.

Downloads are kept in a cache, `$XDG_CACHE_HOME/jetserve/checkpoints` (or `~/.cache/…`), under their SHA-256. What has
arrived of one lies beside it as `.part`, with the server's mark of its version as `.part.json`; the next fetch goes on
from there (RFC 9110, Range and If-Range). One process fetches a file, others wait for it.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder import worker
from builder.checkpoints.content import refuse_what_is_no_checkpoint
from builder.checkpoints.download import downloaded
from builder.progress import Progress, Step
from builder.recipes.parts import Checkpoint, CheckpointFile, CheckpointPackage, CheckpointRandom, CheckpointUrl
from vision.errors import BuildError

STEP = "fetch"
NAMED_HASH = re.compile(r"-(?!20\d\d[01]\d[0-3]\d)([0-9a-f]{8})\.pth$")
"""OpenMMLab's and torch hub's names; eight digits that are a date say nothing of the content."""
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint on this machine; both None for random weights."""

    path: Path | None
    sha256: str | None


def fetched(checkpoint: Checkpoint, folder: Path, progress: Progress) -> Fetched:
    """Find or download a checkpoint, as one step.

    Args:
        checkpoint: as a recipe says it.
        folder: the recipe's, which files are relative to.
        progress: told of the step.

    Raises:
        BuildError: it is not there, cannot be had, or is not the file that was meant.
    """
    with progress.step(STEP) as step:
        match checkpoint:
            case CheckpointRandom(random=seed):
                step.done(f"random weights, seed {seed}: to be converted, and not to find anything in a photo")
                return Fetched(None, None)
            case CheckpointFile():
                path, expected, remedy = folder / checkpoint.file, checkpoint.sha256, "copy it again"
            case CheckpointPackage():
                path = worker.packaged_file(checkpoint.package, checkpoint.file)
                expected, remedy = checkpoint.sha256, "make setup-frameworks installs the pinned one"
            case CheckpointUrl():
                path, expected, remedy = _from_url(checkpoint, step), checkpoint.sha256, "run again to download it anew"
        refuse_what_is_no_checkpoint(path, str(path))
        came = verified(path, expected, remedy)
        step.done(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, sha256 {came[:12]}")
        if expected is None and not NAMED_HASH.search(path.name):
            step.note(f"not verified: no sha256 is said for it, and its name ends in none; it has {came}")
        return Fetched(path, came)


def verified(path: Path, expected: str | None, remedy: str) -> str:
    """The SHA-256 of a file, held against what is expected and against what its name ends in.

    Raises:
        BuildError: it cannot be read, or is another.
    """
    came = _sha256(path)
    if expected is not None and came != expected:
        raise BuildError(
            STEP, f"{path} has sha256 {came}, expected {expected}: it is another file, or damaged; {remedy}"
        )
    named = NAMED_HASH.search(path.name)
    if named and not came.startswith(named[1]):
        raise BuildError(
            STEP,
            f"{path} has sha256 {came[:8]}…, and its name says {named[1]}: it is another file, or damaged; {remedy}",
        )
    return came


def cache_folder() -> Path:
    """Where downloads are kept."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "jetserve" / "checkpoints"


def _from_url(checkpoint: CheckpointUrl, step: Step) -> Path:
    name = _name_in(checkpoint.url)
    named = NAMED_HASH.search(name)
    if named and not checkpoint.sha256.startswith(named[1]):
        raise BuildError(
            STEP,
            f"{name} is named for sha256 {named[1]}…, and the recipe expects {checkpoint.sha256[:8]}…: one is wrong",
        )
    folder = cache_folder() / checkpoint.sha256
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with _locked(folder / LOCK, step):
        if path.exists():
            try:
                verified(path, checkpoint.sha256, "")
            except BuildError:
                step.note(f"{path} was damaged, and is downloaded again")
                path.unlink()
            else:
                step.note("from the cache")
                return path
        partial = downloaded(checkpoint.url, path, step)
        try:
            refuse_what_is_no_checkpoint(partial, checkpoint.url)
            verified(partial, checkpoint.sha256, f"{checkpoint.url} serves another file than the recipe means")
        except BuildError:
            partial.unlink()
            raise
        partial.replace(path)
    return path


def _name_in(url: str) -> str:
    """The file's name at the end of a URL.

    Raises:
        BuildError: the URL is none, or its name is one that the cache itself uses, or no file can have.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as exc:  # half a bracket, a port beyond 65535
        raise BuildError(STEP, f"{url!r} is no address: {exc}") from exc
    name = unquote(parts.path.rpartition("/")[2])
    if not is_one or not name:
        raise BuildError(STEP, f"{url!r}: expected http:// or https://, a host and a file's name")
    if name in (".", "..", LOCK) or name.endswith((".part", ".part.json")) or "/" in name or not name.isprintable():
        raise BuildError(STEP, f"{url!r} ends in {name!r}, which cannot be a checkpoint's name in the cache")
    return name


@contextmanager
def _locked(path: Path, step: Step) -> Iterator[None]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step.note("another build is fetching it; waited")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror or exc}") from exc
