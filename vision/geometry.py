"""Where a photo lies in the network's input, and how to get back."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hw = tuple[int, int]
"""Height and width in pixels."""
Pixels = NDArray[Any]
"""An image [h, w, 3], uint8 until it is normalised, float32 after."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A photo that was scaled down while it was decoded.

    `image_bgr` is uint8 [ceil(h / factor), ceil(w / factor), 3] of a photo of `photo_hw`. It begins `hidden_xy` photo
    pixels before the photo: photo x = image x * factor - hidden x, edge of pixel to edge of pixel.
    """

    image_bgr: NDArray[np.uint8]
    photo_hw: Hw
    factor: int
    hidden_xy: tuple[int, int]


Picture = NDArray[np.uint8] | Scaled
"""A decoded photo: all of its pixels, uint8 [h, w, 3] in BGR, or fewer."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How one photo was placed: network x = photo x * scale + offset, per axis.

    `photo_hw` is the photo's size as decoded, `scale_xy` is in network pixels per photo pixel, `offset_xy` is the
    network position of the photo's upper left corner (negative after a crop).
    """

    photo_hw: Hw
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def of_scaled(self, scaled: Scaled) -> "Geometry":
        """The same placement, of a photo of which a scaled picture was resized in place of all its pixels."""
        sides, pairs = scaled.image_bgr.shape[:2], zip(self.scale_xy, self.offset_xy, scaled.hidden_xy, strict=True)
        ratios = [whole / (side * scaled.factor) for whole, side in zip(scaled.photo_hw, sides, strict=True)]
        (x_scale, x_offset), (y_scale, y_offset) = (
            (scale * ratio, offset + hidden * scale * ratio)
            for (scale, offset, hidden), ratio in zip(pairs, reversed(ratios), strict=True)
        )
        return Geometry(self.photo_hw, (x_scale, y_scale), (x_offset, y_offset))

    def to_photo(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes [k, 4] from network pixels to photo pixels, not clipped; float32 like the mmdeploy SDK."""
        boxes = boxes_xyxy if self.offset_xy == (0, 0) else boxes_xyxy - _twice(self.offset_xy)
        return boxes / _twice(self.scale_xy)


@lru_cache(maxsize=256)
def _twice(xy: tuple[float, float]) -> NDArray[np.float32]:
    """x, y, x, y: cameras and films send one size over and over."""
    return np.array(xy * 2, np.float32)
