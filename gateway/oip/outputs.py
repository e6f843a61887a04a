"""Findings as the protocol's tensors."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from clients.findings import rounded_boxes, rounded_scores
from gateway.oip.tensors import BYTES, OutputTensor
from gateway.predictor import Prediction
from vision.heads import Classification, Detections

Task = Literal["detection", "classification"]

NO_LABEL_ID = -1
"""The label of rows that only fill a tensor up; their boxes and scores are 0, their label is empty text."""

_SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "boxes": ("FP32", (-1, -1, 4)),
    "scores": ("FP32", (-1, -1)),
    "label_ids": ("INT64", (-1, -1)),
    "counts": ("INT64", (-1,)),
    "labels": (BYTES, (-1, -1)),
}
"""Datatype and shape of each output; -1 is n, the photos, and then k, the most that was found on one of them."""


def output_names(task: Task) -> Sequence[str]:
    """What a model of that task answers; a classifier has no boxes."""
    return [name for name in _SHAPES if task == "detection" or name != "boxes"]


def output_descriptions(task: Task) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    """Datatype and shape by name, with -1 for a side that is open."""
    return {name: _SHAPES[name] for name in output_names(task)}


def tensors_from_prediction(prediction: Prediction) -> dict[str, OutputTensor]:
    """Every output by name, for n photos with at most k findings each.

    `boxes` FP32 [n, k, 4] as x1, y1, x2, y2 in pixels of the upright photo, `scores` FP32 [n, k], `label_ids` INT64
    [n, k], `counts` INT64 [n] says how many of the k are findings, `labels` BYTES [n, k] in UTF-8. The figures are
    those of the JSON answer, as float32.
    """
    found = [finding.found for finding in prediction.findings]
    counts = np.array([len(each) for each in found], np.int64)
    n, k = len(found), int(counts.max(initial=0))
    scores = np.zeros((n, k), np.float32)
    label_ids = np.full((n, k), NO_LABEL_ID, np.int64)
    for row, each in enumerate(found):
        scores[row, : len(each)] = rounded_scores(each)
        label_ids[row, : len(each)] = each.label_ids
    names = [label.encode() for label in prediction.contract.labels]
    labels = [b"" if label_id == NO_LABEL_ID else names[label_id] for label_id in label_ids.ravel().tolist()]
    tensors = {
        "boxes": _boxes(found, k),
        "scores": OutputTensor("scores", "FP32", (n, k), scores),
        "label_ids": OutputTensor("label_ids", "INT64", (n, k), label_ids),
        "counts": OutputTensor("counts", "INT64", (n,), counts),
        "labels": OutputTensor("labels", BYTES, (n, k), labels),
    }
    return {name: tensors[name] for name in output_names(prediction.contract.task)}


def _boxes(found: Sequence[Detections | Classification], k: int) -> OutputTensor:
    boxes = np.zeros((len(found), k, 4), np.float32)
    for row, each in enumerate(found):
        if isinstance(each, Detections):
            boxes[row, : len(each)] = rounded_boxes(each)
    return OutputTensor("boxes", "FP32", boxes.shape, boxes)
