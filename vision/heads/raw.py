"""Raw predictions to detections: what heads share that suppress for themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vision.geometry import Geometry
from vision.heads.borders import boxes_on_photo
from vision.heads.found import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes above the threshold, best first.

    `boxes_xyxy` float32 [k, 4] in network pixels, `scores` float32 [k], `label_ids` int64 [k].
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_ids: NDArray[np.int64]


def best_first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The order of falling scores; equal ones stay in the network's order."""
    return np.argsort(-scores, kind="stable")


def detections_from_candidates(
    candidates: Candidates, kept: Iterator[int], geometry: Geometry, limit: int
) -> Detections:
    """The first `limit` of the `kept` positions whose boxes lie on the photo, clipped to [0, width] x [0, height]."""
    boxes, inside_out = boxes_on_photo(candidates.boxes_xyxy, geometry, short_by=0)
    seen = (~(inside_out[:, 0] | inside_out[:, 1])).tolist()
    chosen = np.fromiter(islice((position for position in kept if seen[position]), limit), np.int64)
    return Detections(boxes[chosen], candidates.scores[chosen], candidates.label_ids[chosen])
