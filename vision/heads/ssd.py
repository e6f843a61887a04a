"""Scores and boxes of every prior, as pytorch-ssd exports them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import Contract, SsdHead
from vision.geometry import Geometry
from vision.heads.found import Detections
from vision.heads.outputs import Outputs, checked_output, require_finite
from vision.heads.raw import Candidates, best_first, detections_from_candidates
from vision.heads.suppression import first_of_each_label, survivors

EPSILON = 1e-5
"""In pytorch-ssd's `iou_of` (vision/utils/box_utils.py), where boxes are fractions: it spares the smallest ones."""


def detections(
    contract: Contract, head: SsdHead, outputs: Outputs, geometries: Sequence[Geometry], threshold: float, limit: int
) -> list[Detections]:
    """Scores [n, priors, 1 + classes], the background first, and boxes [n, priors, 4] x1 y1 x2 y2 as fractions.

    As pytorch-ssd's `Predictor.predict`: a prior is a candidate for every class that it scores above `threshold` for.
    """
    scores = checked_output(contract, outputs, head.scores, (len(geometries), None, 1 + len(contract.labels)))
    boxes = checked_output(contract, outputs, head.boxes, (len(geometries), scores.shape[1], 4))
    require_finite(head.scores, scores)
    require_finite(head.boxes, boxes)
    height, width = contract.input.size_hw
    size = np.array((width, height) * 2, np.float32)
    return [
        _of_one_photo(head, probs, fractions, size, geometry, threshold, limit)
        for probs, fractions, geometry in zip(scores, boxes, geometries, strict=True)
    ]


def _of_one_photo(
    head: SsdHead,
    probs: NDArray[Any],
    fractions: NDArray[Any],
    size: NDArray[np.float32],
    geometry: Geometry,
    threshold: float,
    limit: int,
) -> Detections:
    priors, ids = np.nonzero(probs[:, 1:] > threshold)
    scores = probs[priors, ids + 1]
    order = best_first(scores)
    order = order[first_of_each_label(ids[order], head.candidates)]
    ids, chosen = ids[order], fractions[priors[order]]
    # pytorch-ssd compares overlaps in float32.
    kept = survivors(chosen, ids, np.float32(head.iou_threshold), epsilon=EPSILON)
    return detections_from_candidates(Candidates(chosen * size, scores[order], ids), kept, geometry, limit)
