"""Boxes that the graph itself has suppressed, as mmdeploy exports detectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import Contract, MmdetHead
from vision.geometry import Geometry
from vision.heads.borders import boxes_on_photo
from vision.heads.found import Detections
from vision.heads.outputs import Outputs, checked_output, require_finite, require_known


def detections(
    contract: Contract, head: MmdetHead, outputs: Outputs, geometries: Sequence[Geometry], threshold: float, limit: int
) -> list[Detections]:
    """Boxes [n, k, 5] x1 y1 x2 y2 score in network pixels and label ids [n, k], of which TensorRT's last are padding.

    Clipped as the mmdeploy SDK's `ResizeBBox` does (csrc/mmdeploy/codebase/mmdet): left and top at 0, right and bottom
    at the index of the last pixel; a box that ends before it begins after that lay outside the photo, and is dropped.
    """
    boxes = checked_output(contract, outputs, head.boxes, (len(geometries), None, 5))
    label_ids = checked_output(contract, outputs, head.label_ids, (len(geometries), boxes.shape[1]))
    return [
        _of_one_photo(contract, head, dets, ids, geometry, threshold, limit)
        for dets, ids, geometry in zip(boxes, label_ids, geometries, strict=True)
    ]


def _of_one_photo(
    contract: Contract,
    head: MmdetHead,
    dets: NDArray[Any],
    ids: NDArray[Any],
    geometry: Geometry,
    threshold: float,
    limit: int,
) -> Detections:
    require_finite(head.boxes, dets)
    dets, ids = _best_first(dets, ids, threshold)
    require_known(contract, head.label_ids, ids)
    boxes, inside_out = boxes_on_photo(dets[:, :4], geometry, short_by=1)
    if np.count_nonzero(inside_out):
        visible = ~(inside_out[:, 0] | inside_out[:, 1])
        boxes, dets, ids = boxes[visible], dets[visible], ids[visible]
    return Detections(boxes[:limit], dets[:limit, 4].copy(), ids[:limit].astype(np.int64))


def _best_first(dets: NDArray[Any], ids: NDArray[Any], threshold: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Those above the threshold by falling score, equal ones in the network's order.

    Graphs answer in that order already, padding last, and then nothing needs to be moved.
    """
    scores = dets[:, 4]
    count = np.count_nonzero(scores > threshold)
    if np.count_nonzero(scores[1:] > scores[:-1]):
        order = np.argsort(-scores, kind="stable")[:count]
        return dets[order], ids[order]
    return dets[:count], ids[:count]
