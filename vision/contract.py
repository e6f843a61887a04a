"""The contract: everything serving must know about a model, as data that travels with it.

The builder writes it as `contract.json` and embeds the same JSON in `config.pbtxt`; the gateway reads it from
Triton. What is not said is an error: nothing has a silent default, but for `decode`, which came later. Unknown fields
are errors too, so that a contract from a newer builder is refused rather than half understood.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from vision.errors import ContractError

SCHEMA_VERSION = 1
MAX_BATCH = 1024
"""Images a call; Triton takes more, no network that this project knows does."""

Size = tuple[PositiveInt, PositiveInt]
Fraction = Annotated[float, Field(ge=0, le=1)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "area", "lanczos"]
Library = Literal["opencv", "pillow"]
Decode = Literal["exact", "fast"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ResizeStretch(_Part):
    """To exactly `size_hw`, whatever the aspect ratio."""

    op: Literal["resize_stretch"] = "resize_stretch"
    size_hw: Size
    interpolation: Interpolation
    library: Library


class ResizeKeepRatio(_Part):
    """As large as fits: long side within `long_edge`, short side within `short_edge`.

    `scale = min(long_edge / long, short_edge / short)`, sides are `int(side * scale + 0.5)`.
    `mmcv`: in float64 (mmcv `rescale_size`: what mmdet trains and evaluates with).
    `mmdeploy`: scale and product in float32 (the mmdeploy SDK): one pixel apart at about one size in 15,000.
    """

    op: Literal["resize_keep_ratio"] = "resize_keep_ratio"
    long_edge: PositiveInt
    short_edge: PositiveInt
    rounding: Literal["mmcv", "mmdeploy"]
    interpolation: Interpolation
    library: Library


class ResizeToFit(_Part):
    """As large as fits into `size_hw`: `scale = min(size height / height, size width / width)`.

    `half_even`: sides are `round(side * scale)`, a half to even, and at least 1 (Ultralytics' `LetterBox`).
    `floor`: sides are `int(side * scale)`, and boxes go back by `scale`, not by what rounding left of it (YOLOX).
    """

    op: Literal["resize_to_fit"] = "resize_to_fit"
    size_hw: Size
    rounding: Literal["half_even", "floor"]
    interpolation: Interpolation
    library: Library


class ResizeShorterEdge(_Part):
    """The shorter side to `edge`, the longer in proportion, rounded as `rounding` says.

    `floor`: the longer is `edge * long // short` (mmpretrain `ResizeEdge`, torchvision `Resize(int)`, and the mmdeploy
    SDK's `Resize` with `size=[edge, -1], keep_ratio=false`).
    `mmdeploy`: that box, then `resize_keep_ratio` into it with its float32 rounding: the mmdeploy SDK's `Resize` with
    `size=[edge, -1], keep_ratio=true`, which is what mmdeploy exports for `ResizeEdge`. One photo size in six comes
    out with a shorter side of `edge - 1`.
    """

    op: Literal["resize_shorter_edge"] = "resize_shorter_edge"
    edge: PositiveInt
    rounding: Literal["floor", "mmdeploy"]
    interpolation: Interpolation
    library: Library


class PadToSize(_Part):
    """Right and bottom, up to `size_hw`, with `value` per channel in the order that holds at this step."""

    op: Literal["pad_to_size"] = "pad_to_size"
    size_hw: Size
    value: tuple[float, float, float]


class PadCentred(_Part):
    """On all sides, up to `size_hw`, with `value` per channel; of an odd remainder the smaller half goes first.

    Ultralytics' LetterBox: `top = round((height - h) / 2 - 0.1)`, `left` likewise.
    """

    op: Literal["pad_centred"] = "pad_centred"
    size_hw: Size
    value: tuple[float, float, float]


class PadToDivisor(_Part):
    """Right and bottom, to the next multiples of `divisor`."""

    op: Literal["pad_to_divisor"] = "pad_to_divisor"
    divisor: PositiveInt
    value: tuple[float, float, float]


class CenterCrop(_Part):
    """The middle `size_hw` of an image at least that large; a smaller image is refused.

    The first row is half of what is left over: `half_up` (mmdeploy SDK), `half_even` (mmcv, mmpretrain, torchvision) or
    `floor` (Keras, albumentations). For smaller images the sources disagree: mmcv and the SDK let them through as they
    are, torchvision pads with black.
    """

    op: Literal["center_crop"] = "center_crop"
    size_hw: Size
    rounding: Literal["half_up", "half_even", "floor"]


class CropCentralSquare(_Part):
    """The middle square of `size / (size + padding)` of the shorter side; a `resize_stretch` to `size` follows it.

    EfficientNet's own: mmpretrain's `EfficientNetCenterCrop`, mmcls' `CenterCrop` with `efficientnet_style=True`.
    """

    op: Literal["crop_central_square"] = "crop_central_square"
    size: PositiveInt
    padding: Annotated[int, Field(ge=0)]


class ToRgb(_Part):
    """BGR, as decoded, to RGB."""

    op: Literal["to_rgb"] = "to_rgb"


class Normalise(_Part):
    """`(x - mean) / std` in float32, on the 0-255 scale, per channel in the order that holds at this step."""

    op: Literal["normalise"] = "normalise"
    mean: tuple[float, float, float]
    std: tuple[
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
    ]


Step = Annotated[
    ResizeStretch
    | ResizeKeepRatio
    | ResizeToFit
    | ResizeShorterEdge
    | PadToSize
    | PadToDivisor
    | PadCentred
    | CenterCrop
    | CropCentralSquare
    | ToRgb
    | Normalise,
    Field(discriminator="op"),
]


class Input(_Part):
    """The network's one image input. `shape` is without the batch, in `layout` order; -1 is any size."""

    name: str
    dtype: Literal["UINT8", "FP32"]
    layout: Literal["NHWC", "NCHW"]
    shape: tuple[int, int, int]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels; -1 is any."""
        return (self.shape[0], self.shape[1]) if self.layout == "NHWC" else (self.shape[1], self.shape[2])


class Output(_Part):
    """One output, `shape` without the batch; -1 is any size."""

    name: str
    dtype: Literal["FP32", "INT64", "INT32"]
    shape: tuple[int, ...]


class MmdetHead(_Part):
    """Boxes after non-maximum suppression in the graph, as mmdeploy exports detectors.

    `boxes` is [n, 5] x1 y1 x2 y2 score in network pixels, `label_ids` is [n].
    """

    head: Literal["mmdet"] = "mmdet"
    boxes: str
    label_ids: str
    score_threshold: Fraction
    max_detections: PositiveInt


class SsdHead(_Part):
    """Scores and boxes of every prior, as pytorch-ssd exports them; non-maximum suppression is done by the head.

    `scores` is [n, 1 + classes], probabilities: softmaxed by pytorch-ssd, of a sigmoid in TensorFlow's networks, which
    need not add up to 1. Column 0 is the background, which is no label. `boxes` is [n, 4] x1 y1 x2 y2 as fractions of
    the network's input. A class's `candidates` best above the threshold go into its suppression.
    """

    head: Literal["ssd"] = "ssd"
    scores: str
    boxes: str
    score_threshold: Fraction
    iou_threshold: Fraction
    candidates: PositiveInt
    max_detections: PositiveInt


class YoloHead(_Part):
    """One tensor of raw predictions, in network pixels; non-maximum suppression, per class, is done by the head.

    Of each prediction its best class counts; a photo's `candidates` best above the threshold go into the suppression.

    `v5`: [n, 5 + classes], centre x, centre y, width, height, objectness, class scores (YOLOv5, v6, v7).
    `v8`: [4 + classes, n], the same without objectness (YOLOv8, v9, 11, 12).
    `v10`: [n, 6], x1 y1 x2 y2 score label, suppressed already (YOLOv10, and exports with `nms=True`).
    `yolox`: as `v5`; `strides` are those of the grids that are still to be added, () where the graph has added them.
    """

    head: Literal["yolo"] = "yolo"
    layout: Literal["v5", "v8", "v10", "yolox"]
    predictions: str
    strides: tuple[PositiveInt, ...]
    score_threshold: Fraction
    iou_threshold: Fraction
    candidates: PositiveInt
    max_detections: PositiveInt


class ClassifierHead(_Part):
    """One vector [classes] an image; `activation` is what remains to be done to make it probabilities."""

    head: Literal["classifier"] = "classifier"
    scores: str
    activation: Literal["none", "softmax"]
    top_k: PositiveInt


Head = Annotated[MmdetHead | SsdHead | YoloHead | ClassifierHead, Field(discriminator="head")]
DetectionHead = MmdetHead | SsdHead | YoloHead


def outputs_of_head(head: Head) -> tuple[str, ...]:
    """The names of the outputs that a head reads."""
    match head:
        case MmdetHead():
            return (head.boxes, head.label_ids)
        case SsdHead():
            return (head.scores, head.boxes)
        case YoloHead():
            return (head.predictions,)
        case ClassifierHead():
            return (head.scores,)


class Provenance(_Part):
    """Where the model came from. Hashes are SHA-256 in hex."""

    source: str
    source_sha256: str
    model_sha256: str
    precision: Literal["fp32", "fp16", "int8"]
    created: str
    tools: dict[str, str]


class Contract(_Part):
    """One model, as it is to be served."""

    schema_version: Literal[1]
    task: Literal["detection", "classification"]
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    max_batch: Annotated[int, Field(ge=1, le=MAX_BATCH)]
    input: Input
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)]
    decode: Decode = "exact"
    """`fast`: a JPEG more than twice as large as its first step, a resize, makes it is scaled down while it is decoded.

    The one field that may be missing, in contracts from before there was a choice: they are exact.
    """
    preprocess: tuple[Step, ...]
    """What is done to the decoded 8-bit BGR image before it is sent, in order."""
    in_graph: tuple[ToRgb | Normalise, ...]
    """What the published graph does first, folded into it at build time."""
    postprocess: Head
    provenance: Provenance

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Contract":
        head = self.postprocess
        needed = set(outputs_of_head(head))
        task = "classification" if isinstance(head, ClassifierHead) else "detection"
        if task != self.task:
            raise ValueError(f"head {head.head!r} does {task}, but task is {self.task!r}")
        names = {output.name for output in self.outputs}
        if missing := needed - names:
            raise ValueError(f"head {head.head!r} reads {sorted(missing)}, but outputs are {sorted(names)}")
        channels = self.input.shape[2 if self.input.layout == "NHWC" else 0]
        if channels != 3:
            raise ValueError(f"input {self.input.name!r} has {channels} channels, expected 3")
        if any(side == 0 or side < -1 for side in self.input.shape):
            raise ValueError(f"input shape {self.input.shape} must be positive, or -1 for any size")
        counts_cells = isinstance(head, SsdHead) or (isinstance(head, YoloHead) and head.strides)
        if counts_cells and -1 in self.input.size_hw:
            raise ValueError(
                f"head {head.head!r} needs to know the input's size, and {self.input.shape} leaves it open"
            )
        kinds = [step.op for step in self.preprocess]
        if self.decode == "fast" and not (kinds and kinds[0].startswith("resize_")):
            first = kinds[0] if kinds else "none"
            raise ValueError(f"decode 'fast' needs a resize as the first step of preprocess, and that is {first!r}")
        if kinds.count("normalise") > 1 or kinds.count("to_rgb") > 1:
            raise ValueError("preprocess holds normalise or to_rgb twice")
        if (self.input.dtype == "FP32") != ("normalise" in kinds):
            raise ValueError(
                f"input is {self.input.dtype}: FP32 needs a normalise step in preprocess, UINT8 must have none"
            )
        if repeated := set(kinds) & {step.op for step in self.in_graph}:
            raise ValueError(f"{sorted(repeated)} stands in preprocess and in in_graph: it would be done twice")
        return self

    def to_json(self) -> str:
        """One line of JSON, the form that is embedded in `config.pbtxt`."""
        return self.model_dump_json()


def contract_with_decode(contract: Contract, decode: Decode) -> Contract:
    """The same contract, but for how photos are decoded.

    Raises:
        ContractError: `fast`, and the first step is no resize.
    """
    try:
        return Contract.model_validate({**contract.model_dump(), "decode": decode})
    except ValidationError as exc:
        raise ContractError("; ".join(error["msg"] for error in exc.errors())) from exc


def contract_from_json(text: str | bytes) -> Contract:
    """Read a contract.

    Raises:
        ContractError: naming each field that is missing, unknown or wrong.
    """
    try:
        return Contract.model_validate_json(text)
    except ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']) or 'contract'}: {error['msg']}" for error in exc.errors()
        )
        raise ContractError(
            f"not a contract of schema version {SCHEMA_VERSION}: {problems}. Import the model again with this builder."
        ) from exc
