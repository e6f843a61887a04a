"""One tensor of raw predictions, as the YOLOs export it."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import Contract, YoloHead
from vision.errors import BackendFailure
from vision.geometry import Geometry, Hw
from vision.heads.found import Detections
from vision.heads.outputs import Outputs, checked_output, require_finite, require_known
from vision.heads.raw import Candidates, best_first, detections_from_candidates
from vision.heads.suppression import survivors

Scored = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]
"""Rows above the threshold, the score of each, and its label."""


def predictions_shape(head: YoloHead, labels: int) -> tuple[int | None, int | None]:
    """The shape of one photo's predictions; None is any size."""
    match head.layout:
        case "v8":
            return 4 + labels, None
        case "v10":
            return None, 6
        case "v5" | "yolox":
            return None, 5 + labels


def detections(
    contract: Contract, head: YoloHead, outputs: Outputs, geometries: Sequence[Geometry], threshold: float, limit: int
) -> list[Detections]:
    """Predictions as the head's layout says, see `YoloHead`.

    A prediction counts for its best class, and with objectness the score is their product (Ultralytics'
    `non_max_suppression`, YOLOX's `postprocess`).
    """
    shape = (len(geometries), *predictions_shape(head, len(contract.labels)))
    predictions = checked_output(contract, outputs, head.predictions, shape)
    require_finite(head.predictions, predictions)
    return [
        _of_one_photo(contract, head, photo, geometry, threshold, limit)
        for photo, geometry in zip(predictions, geometries, strict=True)
    ]


def _of_one_photo(
    contract: Contract, head: YoloHead, predictions: NDArray[Any], geometry: Geometry, threshold: float, limit: int
) -> Detections:
    rows, scores, ids = _scored(contract, head, predictions, threshold)
    order = best_first(scores)[: head.candidates]
    rows, scores, ids = rows[order], scores[order], ids[order]
    candidates = Candidates(_boxes(contract, head, predictions, rows), scores, ids)
    kept: Iterator[int] = (
        iter(range(len(ids)))
        if head.layout == "v10"
        # torchvision compares overlaps, themselves float32, in float64.
        else survivors(candidates.boxes_xyxy, ids, np.float64(head.iou_threshold))
    )
    return detections_from_candidates(candidates, kept, geometry, limit)


def _scored(contract: Contract, head: YoloHead, predictions: NDArray[Any], threshold: float) -> Scored:
    if head.layout == "v8":
        rows = np.flatnonzero(predictions[4:].max(axis=0) > threshold)
        classes = predictions[4:, rows]
        return rows, classes.max(axis=0), classes.argmax(axis=0)
    rows = np.flatnonzero(predictions[:, 4] > threshold)
    if head.layout == "v10":
        return rows, predictions[rows, 4], _label_ids(contract, head, predictions[rows, 5])
    # No class scores above 1: what is no object above the threshold is no class either.
    classes = predictions[rows, 5:] * predictions[rows, 4:5]
    scores, ids = classes.max(axis=1), classes.argmax(axis=1)
    above = scores > threshold
    return rows[above], scores[above], ids[above]


def _label_ids(contract: Contract, head: YoloHead, column: NDArray[Any]) -> NDArray[np.int64]:
    ids = column.astype(np.int64)
    if (ids != column).any():
        raise BackendFailure(
            f"output {head.predictions!r}: column 6 should hold label ids, and holds {column[ids != column][0]:g}."
            " Import the model again with another layout"
        )
    require_known(contract, head.predictions, ids)
    return ids


def _boxes(contract: Contract, head: YoloHead, predictions: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """x1 y1 x2 y2 [k, 4] of the predictions `rows`, in network pixels."""
    if head.layout == "v10":
        return predictions[rows, :4]
    boxes = predictions[:4, rows].T if head.layout == "v8" else predictions[rows, :4]
    centres, half = boxes[:, :2], boxes[:, 2:] / 2
    if head.strides:
        cells, strides = grid(contract.input.size_hw, head.strides)
        if len(cells) != len(predictions):
            raise BackendFailure(
                f"output {head.predictions!r}: expected {len(cells)} rows, one a cell of the grids of strides"
                f" {list(head.strides)}, the model answered {len(predictions)}. Import it again with its own strides"
            )
        centres = (centres + cells[rows]) * strides[rows]
        with np.errstate(over="ignore"):  # refused below
            half = np.exp(boxes[:, 2:]) * strides[rows] / 2
        require_finite(head.predictions, half)
    return np.concatenate([centres - half, centres + half], axis=1)


@lru_cache(maxsize=16)
def grid(size_hw: Hw, strides: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each cell's x and y, counted in cells, [n, 2]; and its stride in network pixels, [n, 1]. Row by row."""
    cells, sizes = [], []
    for stride in strides:
        rows, columns = np.mgrid[: size_hw[0] // stride, : size_hw[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)
