"""Publishing into `model_repository/`: whole versions, and one rename that commits.

    NAME/config.pbtxt            what Triton serves: `version_policy` names one version
    NAME/1/, NAME/2/, …          complete versions, each with its contract and the config it was published with

A version is written aside (`.staging-…`, on the same file system), renamed into place, and becomes the served one when
`config.pbtxt` is replaced. Interrupted before that, the old version is still served; the next publish sweeps the rest.
"""

import fcntl
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.interrupts import Check, deferred_interrupts
from builder.publishing.settings import settings_of, with_settings
from vision.errors import BuildError

STEP = "publish"
STAGING = ".staging-"
CONFIG = "config.pbtxt"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
NAME_EXPECTED = "expected letters, digits, '-' and '_', starting with a letter or digit"

CHUNK_BYTES = 4 * 2**20

Files = Mapping[str, bytes | Path]
"""By name: the content, or a file to copy it from, for what is too large to hold in memory."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where a model now stands. `is_new` is False where the served version was the same already."""

    folder: Path
    version: int
    is_new: bool


def checked_name(name: str) -> str:
    """The name itself, if it can be a folder, a URL path and a Triton model.

    Raises:
        BuildError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise BuildError("read", f"--name {name!r}: {NAME_EXPECTED}")
    return name


def publish(
    repository: Path,
    name: str,
    files_of: Callable[[int], Files],
    is_same: Callable[[Path, int], bool] = lambda model, version: False,
    papers: Files | None = None,
) -> Published:
    """Publish a version and make it the served one.

    Args:
        repository: made if it is not there.
        name: a checked model name.
        files_of: the files of a version folder, by name, for its number; `config.pbtxt` among them.
        is_same: whether the model folder's served version is what would be published; then nothing is.
        papers: files of that version which are replaced then, each whole; what is served is not among them.

    Raises:
        BuildError: the repository cannot be written; it is as it was.
    """
    model = repository / checked_name(name)
    try:
        with _locked(repository):
            _sweep(repository)
            served = served_version(model)
            if served is not None and is_same(model, served):
                folder = model / str(served)
                with deferred_interrupts(f"{folder} is unchanged, its papers are new") as stop_if_interrupted:
                    _replace_files(repository, folder, papers or {}, stop_if_interrupted)
                return Published(model, served, is_new=False)
            version = max([served or 0, *versions(model)]) + 1
            files = files_of(version)
            with deferred_interrupts(f"{model}/{version} is published") as stop_if_interrupted:
                _commit(repository, model, version, files, stop_if_interrupted)
            return Published(model, version, is_new=True)
    except OSError as exc:
        raise BuildError(
            STEP, f"cannot write to {repository}: {exc.strerror or exc}; the version served before is untouched"
        ) from exc


def sweep(repository: Path) -> None:
    """Delete what an interrupted publish left; nothing where there is no repository yet.

    Raises:
        BuildError: it cannot be read or written.
    """
    if not repository.is_dir():
        return
    try:
        with _locked(repository):
            _sweep(repository)
    except OSError as exc:
        raise BuildError(STEP, f"cannot tidy {repository}: {exc.strerror or exc}") from exc


def versions(model: Path) -> list[int]:
    """The numbers of the version folders, ascending; [] where there is no model."""
    if not model.is_dir():
        return []
    return sorted(int(entry.name) for entry in model.iterdir() if entry.name.isdecimal() and entry.is_dir())


def served_version(model: Path) -> int | None:
    """The version that `config.pbtxt` names; None without one.

    Raises:
        BuildError: a `config.pbtxt` that this project did not write.
    """
    config = model / CONFIG
    if not config.exists():
        return None
    if (version := config_version(config.read_bytes())) is None:
        raise BuildError(
            STEP, f"{config} names no single version; it was not published by this builder: use another --name"
        )
    return version


def config_version(config: bytes) -> int | None:
    """The one version that a `config.pbtxt` of this builder names; None of any other."""
    found = re.search(rb"^version_policy \{ specific \{ versions: (\d+) \} \}$", config, re.MULTILINE)
    return None if found is None else int(found[1])


def switch(repository: Path, name: str, choose: Callable[[Path], int]) -> int:
    """Serve another version that is there already; its number comes back.

    Args:
        repository: of the model.
        name: a model in it.
        choose: the version to serve, from the model's folder; called under the lock, and may raise BuildError.

    Raises:
        BuildError: the repository cannot be written; what was served is served still.
    """
    model = repository / checked_name(name)
    if not model.is_dir():
        raise BuildError("read", f"{repository} holds no model {name!r}")
    try:
        with _locked(repository):
            _sweep(repository)
            version = choose(model)
            config = kept_settings(model / str(version) / CONFIG, model)
            if config != (model / CONFIG).read_bytes():
                with deferred_interrupts(f"{model} serves {version} now") as stop_if_interrupted:
                    _replace_files(repository, model, {CONFIG: config}, stop_if_interrupted)
            return version
    except OSError as exc:
        raise BuildError(
            "rollback", f"cannot switch {model}: {exc.strerror or exc}; the version served before is untouched"
        ) from exc


def reconfigure(repository: Path, name: str, config_of: Callable[[Path], bytes]) -> None:
    """Replace what is served of a model by another configuration of the same version.

    Args:
        repository: of the model.
        name: a model in it.
        config_of: the new `config.pbtxt`, from the model's folder; called under the lock, and may raise.

    Raises:
        BuildError: there is no such model, or the repository cannot be written; it is as it was.
    """
    model = repository / checked_name(name)
    if served_version(model) is None:
        raise BuildError("read", f"{repository} holds no model {name!r}")
    try:
        with _locked(repository):
            _sweep(repository)
            config = config_of(model)
            with deferred_interrupts(f"{model} is configured anew") as stop_if_interrupted:
                _replace_files(repository, model, {CONFIG: config}, stop_if_interrupted)
    except OSError as exc:
        raise BuildError("configure", f"cannot configure {model}: {exc.strerror or exc}; nothing was changed") from exc


def kept_settings(config: bytes | Path, model: Path) -> bytes:
    """A version's `config.pbtxt` with the settings that the model's served one has."""
    content = config.read_bytes() if isinstance(config, Path) else config
    served = model / CONFIG
    return with_settings(content, settings_of(served.read_bytes())) if served.exists() else content


def _replace_files(repository: Path, folder: Path, files: Files, stop_if_interrupted: Check) -> None:
    """All are written aside before the first is renamed into its place."""
    if not files:
        return
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=repository))
    try:
        for name, data in files.items():
            _write(staging / name, data, stop_if_interrupted)
        _sync(staging)
        stop_if_interrupted()
        for name in files:
            (staging / name).replace(folder / name)
        _sync(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _commit(repository: Path, model: Path, version: int, files: Files, stop_if_interrupted: Check) -> None:
    """Stage, then rename: a new model as one folder, a further version before the config that names it."""
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=repository))
    try:
        staging.chmod(0o755)  # mkdtemp's 0700 would keep a Triton under another uid out
        folder = staging / str(version)
        folder.mkdir()
        for name, data in files.items():
            _write(folder / name, data, stop_if_interrupted)
        _write(staging / CONFIG, kept_settings(files[CONFIG], model), stop_if_interrupted)
        _sync(folder)
        _sync(staging)
        stop_if_interrupted()
        if not model.exists():
            staging.rename(model)
        else:
            _add_version(model, version, staging)
        _sync(repository)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _add_version(model: Path, version: int, staging: Path) -> None:
    folder = model / str(version)
    (staging / str(version)).rename(folder)
    try:
        _sync(model)
        (staging / CONFIG).replace(model / CONFIG)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sync(model)


def _write(path: Path, data: bytes | Path, stop_if_interrupted: Check) -> None:
    with path.open("wb") as file, _source(data) as source:
        while chunk := source.read(CHUNK_BYTES):
            stop_if_interrupted()
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _source(data: bytes | Path) -> BinaryIO:
    return data.open("rb") if isinstance(data, Path) else io.BytesIO(data)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(repository: Path) -> Iterator[None]:
    """One publisher at a time; others wait. The lock is on the folder itself and ends with its process."""
    repository.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(repository: Path) -> None:
    """What an interrupted publish left; under the lock nobody else's can be there."""
    for entry in repository.glob(STAGING + "*"):
        shutil.rmtree(entry)
