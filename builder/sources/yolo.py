"""A YOLO as ONNX: exported by Ultralytics (v5, v8 and their kin), with suppression in the graph (v10), or by YOLOX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from pydantic import PositiveInt

from builder.archive import file_from_path
from builder.graphs import graph
from builder.graphs.session import cpu_session
from builder.recipes.parts import LabelSettings, Part, RecipePath, Serve
from builder.source import Source, Wishes, labels_from_file
from builder.sources.ultralytics import UltralyticsMetadata, is_ultralytics, metadata_from_model
from builder.sources.yolo_layout import Layout, layout_from_outputs
from vision.contract import (
    Fraction,
    Normalise,
    PadCentred,
    PadToSize,
    ResizeToFit,
    Size,
    Step,
    ToRgb,
    YoloHead,
)
from vision.errors import BuildError

GREY = (114.0, 114.0, 114.0)
YOLOX_STRIDES = (8, 16, 32)


class YoloSource(Part):
    """What a file leaves unsaid; None takes what it says, or what its shapes leave as the only answer.

    `labels` and `size_hw` stand in the metadata of Ultralytics' exports, `size_hw` in the graph where it is fixed.
    `strides` are YOLOX's, of the grids that the graph has not added: [8, 16, 32] but where it was exported with
    `--decode_in_inference`, [] there.
    """

    kind: Literal["yolo"] = "yolo"
    onnx: RecipePath
    labels: LabelSettings | None = None
    layout: Layout | None = None
    predictions: str | None = None
    size_hw: Size | None = None
    strides: tuple[PositiveInt, ...] | None = None
    iou_threshold: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the makers' own command lines take where nothing is said."""

    score_threshold: float
    iou_threshold: float
    candidates: int
    max_detections: int
    of: str


DEFAULTS: dict[Layout, Defaults] = {
    "v5": Defaults(0.25, 0.45, 30_000, 1000, "YOLOv5's detect.py"),
    "v8": Defaults(0.25, 0.7, 30_000, 300, "Ultralytics' predict"),
    "v10": Defaults(0.25, 1.0, 1000, 300, "Ultralytics' predict"),
    "yolox": Defaults(0.3, 0.45, 30_000, 1000, "YOLOX's onnx_inference.py"),
}


def source_from_settings(settings: YoloSource, serve: Serve) -> Source:
    """Read the file that a recipe names.

    Raises:
        BuildError: as `source_from_yolo` does.
    """
    wishes = Wishes(score_threshold=serve.score_threshold, max_detections=serve.max_detections)
    return source_from_yolo(settings, wishes)


def is_yolo(path: Path) -> bool:
    """Whether the ONNX says of itself what `source_from_yolo` needs to know, so that no recipe is needed."""
    return is_ultralytics(graph.model_from_bytes(file_from_path(path), path.name))


def source_from_yolo(settings: YoloSource, wishes: Wishes) -> Source:
    """Read the file, and what it says of itself.

    Raises:
        BuildError: it cannot be read, is for another task, or leaves labels, size or layout open; with the choices.
    """
    data = file_from_path(settings.onnx)
    model = graph.model_from_bytes(data, settings.onnx.name)
    metadata = metadata_from_model(model)
    labels = _labels(settings, wishes, metadata)
    renamed = _renamed(labels, metadata.labels)
    [input_name, input_hw] = _input(model)
    size_hw = _size_hw(settings, metadata, input_hw)
    predictions, layout = _predictions(settings, model, metadata, len(labels), size_hw)
    head, notes = _head(settings, wishes, predictions, layout)
    return Source(
        name=settings.onnx.name,
        onnx=data,
        task="detection",
        labels=labels,
        input_name=input_name,
        layout="NCHW",
        preprocess=_steps(layout, size_hw),
        postprocess=head,
        precision="fp32",
        tools={"ultralytics": metadata.version} if metadata.version else {},
        notes=(*renamed, *notes, *([f"its makers' licence: {metadata.license}"] if metadata.license else [])),
    )


def _labels(settings: YoloSource, wishes: Wishes, metadata: UltralyticsMetadata) -> tuple[str, ...]:
    given = wishes.labels or settings.labels
    labels = labels_from_file(given) if isinstance(given, Path) else given or metadata.labels
    if labels is None:
        raise BuildError(
            "contract",
            f"{settings.onnx.name} holds no class names, as only Ultralytics' exports do; give the labels: one name a"
            " line, in the order of the training's classes",
        )
    return labels


def _renamed(given: tuple[str, ...], own: tuple[str, ...] | None) -> tuple[str, ...]:
    """What to say where the labels given are not the file's own.

    Raises:
        BuildError: they are the same names in another order, which calls things by each other's names.
    """
    if own is None or given == own:
        return ()
    if len(given) != len(own):
        return (f"{len(given)} labels are given, the ONNX itself names {len(own)} classes; those given are taken",)
    strange = next(number for number, (label, name) in enumerate(zip(given, own, strict=True)) if label != name)
    both = f"id {strange} is {given[strange]!r} there, and {own[strange]!r} in the ONNX itself"
    if sorted(given) == sorted(own):
        raise BuildError(
            "contract", f"the labels given are the ONNX's own in another order: {both}; leave them out, or correct them"
        )
    return (f"the labels given are not the ONNX's own: {both}; those given are taken",)


def _input(model: onnx.ModelProto) -> tuple[str, tuple[int, int]]:
    """The one input [batch, 3, height, width]: its name, height and width."""
    inputs = graph.inputs(model)
    shapes = {value.name: graph.shape_of(value) for value in inputs}
    if len(inputs) != 1 or len(shapes[inputs[0].name]) != 4:
        raise BuildError("check", f"the graph takes {shapes}, expected one input [batch, 3, height, width]")
    if inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
        raise BuildError(
            "check", f"input {inputs[0].name!r} is FP16, expected FP32: export without half, and build with --precision"
        )
    return inputs[0].name, (shapes[inputs[0].name][2], shapes[inputs[0].name][3])


def _size_hw(settings: YoloSource, metadata: UltralyticsMetadata, input_hw: tuple[int, int]) -> tuple[int, int]:
    if graph.ANY not in input_hw:
        if settings.size_hw not in (None, input_hw):
            raise BuildError("contract", f"size_hw is {settings.size_hw}, but the graph takes {input_hw}: leave it out")
        return input_hw
    size_hw = settings.size_hw or metadata.size_hw
    if size_hw is None:
        raise BuildError(
            "contract", "the graph takes any size, and the file does not say which; give size_hw: [640, 640]"
        )
    return size_hw


def _predictions(
    settings: YoloSource, model: onnx.ModelProto, metadata: UltralyticsMetadata, labels: int, size_hw: tuple[int, int]
) -> tuple[str, Layout]:
    """The output to read, and its layout."""
    shapes = {value.name: graph.shape_of(value) for value in model.graph.output}
    if any(graph.ANY in shape[1:] for shape in shapes.values()):
        shapes = _shapes_seen(model, size_hw)
    outputs = {name: (shape[1], shape[2]) for name, shape in shapes.items() if len(shape) == 3}
    if settings.predictions is not None:
        if settings.predictions not in outputs:
            raise BuildError("check", f"the graph gives {shapes}, expected {settings.predictions!r} as [batch, n, m]")
        outputs = {settings.predictions: outputs[settings.predictions]}
    layout: Layout | None = settings.layout or ("v10" if metadata.is_suppressed else None)
    if layout is not None and len(outputs) == 1:
        return next(iter(outputs)), layout
    of_yolox = metadata.labels is None and metadata.version is None
    name, found = layout_from_outputs(outputs, labels, size_hw, of_yolox=of_yolox)
    return name, layout or found


def _shapes_seen(model: onnx.ModelProto, size_hw: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The outputs' shapes when the graph is run once: Ultralytics' exports with dynamic axes leave every side open."""
    [value] = graph.inputs(model)
    names = [output.name for output in model.graph.output]
    try:
        arrays = cpu_session(model.SerializeToString()).run(names, {value.name: np.zeros((1, 3, *size_hw), np.float32)})
    except Exception as exc:
        raise BuildError("check", f"the graph leaves its outputs' shapes open, and cannot be run: {exc}") from exc
    return {name: np.asarray(array).shape for name, array in zip(names, arrays, strict=True)}


def _steps(layout: Layout, size_hw: tuple[int, int]) -> tuple[Step, ...]:
    """Ultralytics: centred on grey, RGB, 0 to 1. YOLOX (0.2 and later): in the corner, BGR, 0 to 255."""
    if layout == "yolox":
        return (
            ResizeToFit(size_hw=size_hw, rounding="floor", interpolation="bilinear", library="opencv"),
            PadToSize(size_hw=size_hw, value=GREY),
            Normalise(mean=(0, 0, 0), std=(1, 1, 1)),
        )
    return (
        ResizeToFit(size_hw=size_hw, rounding="half_even", interpolation="bilinear", library="opencv"),
        PadCentred(size_hw=size_hw, value=GREY),
        ToRgb(),
        Normalise(mean=(0, 0, 0), std=(255, 255, 255)),
    )


def _head(settings: YoloSource, wishes: Wishes, predictions: str, layout: Layout) -> tuple[YoloHead, tuple[str, ...]]:
    """The head, and what was taken for it where nobody said."""
    if settings.strides is not None and layout != "yolox":
        raise BuildError("contract", f"strides are YOLOX's, and the layout is {layout}: leave them out")
    if settings.iou_threshold is not None and layout == "v10":
        raise BuildError("contract", "iou_threshold changes nothing of layout v10, which is suppressed: leave it out")
    defaults = DEFAULTS[layout]
    strides = settings.strides if settings.strides is not None else YOLOX_STRIDES if layout == "yolox" else ()
    given: dict[str, float | None] = {
        "score_threshold": wishes.score_threshold,
        "iou_threshold": settings.iou_threshold,
        "max_detections": wishes.max_detections,
    }
    chosen = {key: getattr(defaults, key) if value is None else value for key, value in given.items()}
    fixed = {"layout": layout, "predictions": predictions, "strides": strides, "candidates": defaults.candidates}
    head = YoloHead.model_validate({**fixed, **chosen})
    taken = [f"{key} {chosen[key]:g}" for key, value in given.items() if value is None]
    notes = [f"layout {layout}, read from {predictions!r}"] if settings.layout is None else []
    if taken:
        notes.append(f"{', '.join(taken)}: what {defaults.of} takes where nothing is said")
    if layout == "yolox" and settings.strides is None:
        notes.append(f"the head adds the grids of strides {list(strides)}, which YOLOX exports leave out")
    return head, tuple(notes)
