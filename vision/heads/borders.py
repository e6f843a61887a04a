"""Where boxes end: the photo's borders."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vision.geometry import Geometry, Hw


@lru_cache(maxsize=256)
def _most(photo_hw: Hw, short_by: int) -> NDArray[np.float32]:
    height, width = photo_hw
    return np.array((np.inf, np.inf, width - short_by, height - short_by), np.float32)


_LEAST = np.array((0, 0, -np.inf, -np.inf), np.float32)
"""x1 y1 x2 y2: only the upper left corner stops at the photo's upper left border, as in the SDK."""


def boxes_on_photo(
    boxes_xyxy: NDArray[np.float32], geometry: Geometry, *, short_by: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes [k, 4] from network to photo pixels, clipped; and [k, 2] whether they end before they begin, in x or in y.

    Left and top stop at 0, right and bottom at width and height less `short_by`. A box that ends before it begins after
    that lay outside the photo.
    """
    boxes = geometry.to_photo(boxes_xyxy)
    np.minimum(boxes, _most(geometry.photo_hw, short_by), out=boxes)
    np.maximum(boxes, _LEAST, out=boxes)
    return boxes, boxes[:, :2] > boxes[:, 2:]
