"""From a network's raw outputs to detections and classes, as a contract's head says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import ClassifierHead, Contract, MmdetHead
from vision.dtypes import DTYPES
from vision.errors import BackendFailure, ContractError
from vision.geometry import Geometry

_LEAST = np.array((0, 0, -np.inf, -np.inf), np.float32)
"""x1 y1 x2 y2: only the upper left corner stops at the photo's upper left border, as in the SDK."""

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The objects in one photo, best first.

    `boxes_xyxy` float32 [k, 4] in photo pixels, clipped to the photo; `scores` float32 [k]; `label_ids` int64 [k].
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The classes of one photo, best first: `scores` float32 [k] as probabilities, `label_ids` int64 [k]."""

    scores: NDArray[np.float32]
    label_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


def detections_from_outputs(
    contract: Contract,
    outputs: Outputs,
    geometries: Sequence[Geometry],
    *,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> list[Detections]:
    """One `Detections` a photo of the batch, in order; the contract's thresholds hold where none is given.

    `outputs` are by name, with the batch dimension: boxes [n, k, 5] x1 y1 x2 y2 score in network pixels, and label ids
    [n, k]. Kept are scores above `score_threshold`, mapped back and clipped as the mmdeploy SDK's `ResizeBBox` does
    (csrc/mmdeploy/codebase/mmdet): left and top at 0, right and bottom at the index of the last pixel; a box that ends
    before it begins after that lay outside the photo, and is dropped.

    Raises:
        BackendFailure: outputs missing, of another shape or dtype, not finite, or a label that the contract lacks.
        ContractError: the contract has another head.
    """
    head = contract.postprocess
    if not isinstance(head, MmdetHead):
        raise ContractError(f"expected a contract with an mmdet head, got {head.head!r}")
    count = len(geometries)
    boxes = _output(contract, outputs, head.boxes, (count, None, 5))
    label_ids = _output(contract, outputs, head.label_ids, (count, boxes.shape[1]))
    threshold = head.score_threshold if score_threshold is None else score_threshold
    limit = head.max_detections if max_detections is None else max_detections
    return [
        _detections(contract, head, dets, ids, geometry, threshold, limit)
        for dets, ids, geometry in zip(boxes, label_ids, geometries, strict=True)
    ]


def _detections(
    contract: Contract,
    head: MmdetHead,
    dets: NDArray[Any],
    ids: NDArray[Any],
    geometry: Geometry,
    threshold: float,
    limit: int,
) -> Detections:
    _require_finite(head.boxes, dets)
    scores = dets[:, 4]
    best_first = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores > threshold)]
    dets, ids = dets[best_first], ids[best_first]
    _require_known(contract, head.label_ids, ids)
    boxes = geometry.to_photo(dets[:, :4])
    height, width = geometry.photo_hw
    boxes.clip(_LEAST, np.array((np.inf, np.inf, width - 1, height - 1), np.float32), out=boxes)
    outside = boxes[:, 2:] < boxes[:, :2]
    if outside.any():
        visible = ~outside.any(axis=1)
        boxes, dets, ids = boxes[visible], dets[visible], ids[visible]
    return Detections(boxes[:limit], dets[:limit, 4].copy(), ids[:limit].astype(np.int64, copy=False))


def classifications_from_outputs(
    contract: Contract,
    outputs: Outputs,
    *,
    top_k: int | None = None,
    score_threshold: float | None = None,
) -> list[Classification]:
    """One `Classification` a photo of the batch, in order: the `top_k` best, those above `score_threshold` if given.

    The output is [n, classes], with one score for each of the contract's labels.

    Raises:
        BackendFailure: the output is missing, of another shape or dtype, or not finite.
        ContractError: the contract has another head.
    """
    head = contract.postprocess
    if not isinstance(head, ClassifierHead):
        raise ContractError(f"expected a contract with a classifier head, got {head.head!r}")
    scores = _output(contract, outputs, head.scores, (None, len(contract.labels)))
    _require_finite(head.scores, scores)
    probabilities = _softmax(scores) if head.activation == "softmax" else scores
    limit = head.top_k if top_k is None else top_k
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :limit]
    best = np.take_along_axis(probabilities, order, axis=1).astype(np.float32)
    floor = -np.inf if score_threshold is None else score_threshold
    return [
        Classification(row[row > floor], ids[row > floor].astype(np.int64))
        for row, ids in zip(best, order, strict=True)
    ]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exps: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    exps /= exps.sum(axis=1, keepdims=True)
    return exps


def _output(contract: Contract, outputs: Outputs, name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The output `name` in the contract's dtype and of `shape`, in which None is any size."""
    if name not in outputs:
        raise BackendFailure(f"the model did not answer with output {name!r}, only with {sorted(outputs)}")
    array = outputs[name]
    dtype = next(DTYPES[output.dtype] for output in contract.outputs if output.name == name)
    fits = array.ndim == len(shape) and all(w in (None, got) for w, got in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise BackendFailure(
            f"output {name!r}: expected {dtype} [{wanted}], the model answered {array.dtype} {list(array.shape)}."
            " Its contract and its graph disagree: import it again"
        )
    return array


def _require_finite(name: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise BackendFailure(f"output {name!r} holds NaN or infinity: the model's arithmetic broke on this image")


def _require_known(contract: Contract, name: str, ids: NDArray[Any]) -> None:
    found, last = ids.tolist(), len(contract.labels) - 1
    if found and not 0 <= min(found) <= max(found) <= last:
        raise BackendFailure(f"output {name!r} holds label ids {min(found)} to {max(found)}, the contract 0 to {last}")
