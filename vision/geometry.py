"""Where a photo lies in the network's input, and how to get back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hw = tuple[int, int]
"""Height and width in pixels."""
Pixels = NDArray[Any]
"""An image [h, w, 3], uint8 until it is normalised, float32 after."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How one photo was placed: network x = photo x * scale + offset, per axis.

    `photo_hw` is the photo's size as decoded, `scale_xy` is in network pixels per photo pixel, `offset_xy` is the
    network position of the photo's upper left corner (negative after a crop).
    """

    photo_hw: Hw
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def to_photo(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes [k, 4] from network pixels to photo pixels, not clipped; float32 like the mmdeploy SDK."""
        boxes = boxes_xyxy if self.offset_xy == (0, 0) else boxes_xyxy - np.array(self.offset_xy * 2, np.float32)
        return np.asarray(boxes / np.array(self.scale_xy * 2, np.float32), np.float32)
