"""`evaluation.json` beside a version: sides that are asked one after another stand in one table."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from builder.evaluate.evaluation import Evaluated, SideFigures
from builder.evaluate.sides import SideName
from vision.errors import BuildError


def write_beside_version(path: Path, result: Evaluated) -> str | None:
    """Write figures, with those that an earlier evaluation of the same build on the same photos has of other sides.

    Returns what the person who evaluates must know: that earlier figures are replaced, because they are of others.

    Raises:
        BuildError: it cannot be written.
    """
    with _locked(path.parent):
        earlier = _sides_at(path, result)
        others = set(() if earlier is None else earlier) - set(result.sides)
        whole = result if earlier is None else replace(result, sides=_in_order({**earlier, **result.sides}))
        replaced = earlier is None and path.exists()
        write_aside(path, whole.to_json())
    if replaced:
        return f"{path} held figures of another build or of other photos, and is replaced"
    return f"{path} keeps the earlier figures of {', '.join(sorted(others))}" if others else None


def write_aside(path: Path, text: str) -> None:
    """Replace a file at once, whole or not at all.

    Raises:
        BuildError: it cannot be written; what was there still is, and nothing beside it.
    """
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise BuildError("write", f"{path}: {exc.strerror or exc}") from exc


def _sides_at(path: Path, result: Evaluated) -> dict[str, SideFigures] | None:
    """What a file has of this build on these photos; None where it is of others, or of another form."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        about = json.loads(result.to_json())
        if any(document[key] != about[key] for key in ("evaluation_version", "model_sha256", "data")):
            return None
        return {
            name: SideFigures(side["who"], side["figures"], side["created"], side.get("latency_ms", {}))
            for name, side in document["sides"].items()
            if side["figures"].keys() == next(iter(result.sides.values())).figures.keys()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _in_order(sides: dict[str, SideFigures]) -> dict[str, SideFigures]:
    return {name: sides[name] for name in get_args(SideName) if name in sides}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time: each reads what the other wrote."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise BuildError("write", f"{folder}: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
