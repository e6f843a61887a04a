"""Where boxes end: the photo's borders."""

import numpy as np
from numpy.typing import NDArray

from vision.geometry import Geometry

_LEAST = np.array((0, 0, -np.inf, -np.inf), np.float32)
"""x1 y1 x2 y2: only the upper left corner stops at the photo's upper left border, as in the SDK."""


def boxes_on_photo(
    boxes_xyxy: NDArray[np.float32], geometry: Geometry, *, short_by: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes [k, 4] from network to photo pixels, clipped; and [k] whether any of a box lies on the photo.

    Left and top stop at 0, right and bottom at width and height less `short_by`. A box that ends before it begins after
    that lay outside.
    """
    height, width = geometry.photo_hw
    boxes = geometry.to_photo(boxes_xyxy)
    most = np.array((np.inf, np.inf, width - short_by, height - short_by), np.float32)
    boxes.clip(_LEAST, most, out=boxes)
    return boxes, (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
