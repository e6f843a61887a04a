"""Small contracts for the tests of pixels and heads."""

from typing import Literal

from vision.contract import ClassifierHead, Contract, Input, MmdetHead, Output, Provenance, Step

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
