"""Non-maximum suppression, a label at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 128
"""Boxes whose overlaps are worked out together: NumPy takes as long for one row as for a few hundred numbers."""


def survivors(
    boxes_xyxy: NDArray[np.float32],
    label_ids: NDArray[np.int64],
    iou_threshold: "np.floating[Any]",
    *,
    epsilon: float = 0.0,
) -> Iterator[int]:
    """The positions of the boxes that no better one of their label overlaps by more than `iou_threshold`, best first.

    Greedy, in float32, as `torchvision.ops.batched_nms`, and lazy: who needs ten boxes pays for ten. A block of boxes
    is held against what was kept before it, then box by box against itself.

    Args:
        boxes_xyxy: [k, 4], best first.
        label_ids: [k].
        iou_threshold: a box of exactly that overlap stays. Overlaps are compared in its precision.
        epsilon: added to every union; with it a small box is suppressed less.
    """
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes_xyxy), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes_xyxy)))
        if len(kept) > 0:
            before = _suppressing(
                boxes_xyxy[kept], label_ids[kept], boxes_xyxy[block], label_ids[block], iou_threshold, epsilon
            )
            block = block[~before.any(axis=0)]
        boxes, ids = boxes_xyxy[block], label_ids[block]
        within = _suppressing(boxes, ids, boxes, ids, iou_threshold, epsilon)
        alive = np.ones(len(block), np.bool_)
        for index, position in enumerate(block.tolist()):
            if alive[index]:
                yield position
                alive[index + 1 :] &= ~within[index, index + 1 :]
        kept = np.concatenate([kept, block[alive]])


def first_of_each_label(label_ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The positions, ascending, of the first `count` of every label."""
    by_label = np.argsort(label_ids, kind="stable")
    _, starts, sizes = np.unique(label_ids[by_label], return_index=True, return_counts=True)
    ranks = np.arange(len(label_ids)) - np.repeat(starts, sizes)
    return np.sort(by_label[ranks < count])


def _suppressing(
    boxes_xyxy: NDArray[np.float32],
    ids: NDArray[np.int64],
    others_xyxy: NDArray[np.float32],
    other_ids: NDArray[np.int64],
    iou_threshold: "np.floating[Any]",
    epsilon: float,
) -> NDArray[np.bool_]:
    """[n, m]: whether a box overlaps another of its label by more than the threshold."""
    same: NDArray[np.bool_] = np.equal(ids[:, np.newaxis], other_ids)
    same &= overlaps(boxes_xyxy, others_xyxy, epsilon) > iou_threshold
    return same


def overlaps(
    boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32], epsilon: float = 0.0
) -> NDArray[np.float32]:
    """Intersection over union of each of [n, 4] with each of [m, 4], as [n, m]."""
    x1, y1, x2, y2 = boxes_xyxy.T[:, :, np.newaxis]
    other_x1, other_y1, other_x2, other_y2 = others_xyxy.T[:, np.newaxis, :]
    widths = np.minimum(x2, other_x2) - np.maximum(x1, other_x1)
    heights = np.minimum(y2, other_y2) - np.maximum(y1, other_y1)
    shared: NDArray[np.float32] = np.maximum(widths, 0) * np.maximum(heights, 0)
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    other_areas = np.maximum(other_x2 - other_x1, 0) * np.maximum(other_y2 - other_y1, 0)
    unions = areas + other_areas - shared
    if epsilon:
        unions += np.float32(epsilon)
    with np.errstate(invalid="ignore"):  # two boxes without area: 0 / 0 is no overlap
        return np.asarray(shared / unions, np.float32)
