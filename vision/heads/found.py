"""What heads make of outputs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
