"""Small contracts for the tests of pixels and heads."""

from typing import Literal

from vision.contract import (
    ClassifierHead,
    Contract,
    Input,
    MmdetHead,
    Output,
    PadCentred,
    PadToSize,
    Provenance,
    SsdHead,
    Step,
    YoloHead,
)

PROVENANCE = Provenance(
    source="test", source_sha256="0" * 64, model_sha256="0" * 64, precision="fp32", created="2026-01-01", tools={}
)
Hw = tuple[int, int]


def input_of(steps: tuple[Step, ...], size_hw: Hw, layout: Literal["NHWC", "NCHW"]) -> Input:
    """FP32 if the steps normalise, as contracts demand, else UINT8."""
    dtype: Literal["FP32", "UINT8"] = "FP32" if any(step.op == "normalise" for step in steps) else "UINT8"
    shape = (*size_hw, 3) if layout == "NHWC" else (3, *size_hw)
    return Input(name="input", dtype=dtype, layout=layout, shape=shape)


def detector(
    *steps: Step,
    size_hw: Hw = (-1, -1),
    layout: Literal["NHWC", "NCHW"] = "NHWC",
    labels: tuple[str, ...] = ("balloon", "kite"),
    score_threshold: float = 0.3,
    max_detections: int = 100,
) -> Contract:
    """A detector with mmdeploy's outputs `dets` and `labels`."""
    return Contract(
        schema_version=1,
        task="detection",
        labels=labels,
        max_batch=8,
        input=input_of(steps, size_hw, layout),
        outputs=(
            Output(name="dets", dtype="FP32", shape=(-1, 5)),
            Output(name="labels", dtype="INT64", shape=(-1,)),
        ),
        preprocess=steps,
        in_graph=(),
        postprocess=MmdetHead(
            boxes="dets", label_ids="labels", score_threshold=score_threshold, max_detections=max_detections
        ),
        provenance=PROVENANCE,
    )


def classifier(
    *steps: Step,
    size_hw: Hw = (-1, -1),
    layout: Literal["NHWC", "NCHW"] = "NCHW",
    labels: tuple[str, ...] = ("ant", "bee", "cat"),
    activation: Literal["none", "softmax"] = "none",
    top_k: int = 2,
) -> Contract:
    """A classifier with one output `probs`."""
    return Contract(
        schema_version=1,
        task="classification",
        labels=labels,
        max_batch=8,
        input=input_of(steps, size_hw, layout),
        outputs=(Output(name="probs", dtype="FP32", shape=(len(labels),)),),
        preprocess=steps,
        in_graph=(),
        postprocess=ClassifierHead(scores="probs", activation=activation, top_k=top_k),
        provenance=PROVENANCE,
    )


def yolo_detector(
    *steps: Step,
    layout: Literal["v5", "v8", "v10", "yolox"] = "v8",
    strides: tuple[int, ...] = (),
    score_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    candidates: int = 30_000,
    max_detections: int = 300,
    labels: tuple[str, ...] = ("car", "dog", "bus"),
) -> Contract:
    """A detector with raw predictions in one output `predictions`."""
    shape = {"v8": (4 + len(labels), -1), "v10": (-1, 6)}.get(layout, (-1, 5 + len(labels)))
    head = YoloHead(
        layout=layout,
        predictions="predictions",
        strides=strides,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        candidates=candidates,
        max_detections=max_detections,
    )
    return raw_detector(steps, labels, (Output(name="predictions", dtype="FP32", shape=shape),), head)


def ssd_detector(
    *steps: Step,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    candidates: int = 200,
    max_detections: int = 100,
    labels: tuple[str, ...] = ("car", "dog", "bus"),
) -> Contract:
    """A detector with pytorch-ssd's outputs `scores` and `boxes`."""
    outputs = (
        Output(name="scores", dtype="FP32", shape=(-1, 1 + len(labels))),
        Output(name="boxes", dtype="FP32", shape=(-1, 4)),
    )
    head = SsdHead(
        scores="scores",
        boxes="boxes",
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        candidates=candidates,
        max_detections=max_detections,
    )
    return raw_detector(steps, labels, outputs, head)


def raw_detector(
    steps: tuple[Step, ...], labels: tuple[str, ...], outputs: tuple[Output, ...], head: SsdHead | YoloHead
) -> Contract:
    """Takes 96x128 pixels, whichever way they get there."""
    margin = PadCentred(size_hw=(96, 128), value=(114, 114, 114))
    centred = isinstance(head, YoloHead) and head.layout != "yolox"
    preprocess = (*steps, margin if centred else PadToSize(size_hw=(96, 128), value=margin.value))
    return Contract(
        schema_version=1,
        task="detection",
        labels=labels,
        max_batch=8,
        input=input_of(preprocess, (96, 128), "NHWC"),
        outputs=outputs,
        preprocess=preprocess,
        in_graph=(),
        postprocess=head,
        provenance=PROVENANCE,
    )
