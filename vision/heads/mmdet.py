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
    scores = dets[:, 4]
    best_first = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores > threshold)]
    dets, ids = dets[best_first], ids[best_first]
    require_known(contract, head.label_ids, ids)
    boxes, visible = boxes_on_photo(dets[:, :4], geometry, short_by=1)
    if not visible.all():
        boxes, dets, ids = boxes[visible], dets[visible], ids[visible]
    return Detections(boxes[:limit], dets[:limit, 4].copy(), ids[:limit].astype(np.int64, copy=False))
