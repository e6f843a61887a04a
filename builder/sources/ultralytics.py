"""What Ultralytics writes into the metadata of the ONNX files that it exports."""

import ast
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import onnx

from vision.errors import BuildError

AUTHOR = "Ultralytics"


@dataclass(frozen=True, slots=True)
class UltralyticsMetadata:
    """None, or False, where the file does not say it."""

    labels: tuple[str, ...] | None
    size_hw: tuple[int, int] | None
    is_suppressed: bool
    """Whether the graph ends in its own suppression."""
    version: str | None
    license: str | None


def is_ultralytics(model: onnx.ModelProto) -> bool:
    """Whether the file says that Ultralytics exported it, or YOLOv5, which names no author but classes and stride."""
    said = {entry.key: entry.value for entry in model.metadata_props}
    return said.get("author") == AUTHOR or {"names", "stride"} <= said.keys()


def metadata_from_model(model: onnx.ModelProto) -> UltralyticsMetadata:
    """Read the metadata; a file without any says nothing.

    Raises:
        BuildError: another task than detection, or a field that cannot be read.
    """
    said = {entry.key: entry.value for entry in model.metadata_props}
    task = said.get("task", "detect")
    if task != "detect":
        raise BuildError("contract", f"the ONNX is for the task {task!r}, and of Ultralytics' only 'detect' is served")
    arguments = _literal(said, "args")
    return UltralyticsMetadata(
        labels=_labels(said),
        size_hw=_size_hw(said),
        is_suppressed=said.get("end2end") == "True" or (isinstance(arguments, dict) and arguments.get("nms") is True),
        version=said.get("version"),
        license=said.get("license"),
    )


def _labels(said: dict[str, str]) -> tuple[str, ...] | None:
    names = _literal(said, "names")
    if names is None:
        return None
    by_id = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(by_id, dict) or set(by_id) != set(range(len(by_id))) or not _are_names(by_id.values()):
        raise BuildError(
            "contract", f"the ONNX names its classes {said['names'][:80]}, expected ids from 0 on; give the labels"
        )
    return tuple(by_id[label_id] for label_id in range(len(by_id)))


def _are_names(values: Collection[object]) -> bool:
    return len(values) > 0 and all(isinstance(name, str) for name in values)


def _size_hw(said: dict[str, str]) -> tuple[int, int] | None:
    match _literal(said, "imgsz"):
        case None:
            return None
        case [int(height), int(width)] if min(height, width) > 0:
            return height, width
        case other:
            raise BuildError("contract", f"the ONNX says imgsz {other!r}, expected height and width; give size_hw")


def _literal(said: dict[str, str], key: str) -> Any:
    """The Python literal under `key`; None where there is no such key. Nothing is evaluated."""
    if key not in said:
        return None
    try:
        return ast.literal_eval(said[key])
    except (ValueError, SyntaxError, MemoryError, RecursionError) as exc:
        raise BuildError("contract", f"the ONNX's metadata {key!r} is no Python literal: {said[key][:80]!r}") from exc
