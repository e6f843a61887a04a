"""Padding on the right and at the bottom."""

from functools import lru_cache
from typing import Any

import numpy as np

from vision.contract import PadToDivisor, PadToSize
from vision.geometry import Hw, Pixels

Pad = PadToSize | PadToDivisor


def padded_hw(step: Pad, hw: Hw) -> Hw:
    """The size that `step` makes; a side that is already larger stays (mmcv `impad`, `impad_to_multiple`)."""
    if isinstance(step, PadToDivisor):
        return -(-hw[0] // step.divisor) * step.divisor, -(-hw[1] // step.divisor) * step.divisor
    return max(hw[0], step.size_hw[0]), max(hw[1], step.size_hw[1])


def padded(image: Pixels, size_hw: Hw, step: Pad, out: Pixels | None) -> Pixels:
    """`image` [h, w, 3] in the upper left corner of [*size_hw, 3], in `out` if given."""
    if out is None and image.shape[:2] == size_hw:
        return image
    canvas = np.empty((*size_hw, 3), image.dtype) if out is None else out
    height, width = image.shape[:2]
    np.copyto(canvas[:height, :width], image)
    fill_margins(canvas, (height, width), step)
    return canvas


def fill_margins(canvas: Pixels, inner_hw: Hw, step: Pad) -> None:
    """Write the padding value right of and below the upper left `inner_hw`, and touch nothing else."""
    height, width = inner_hw
    row = np.empty(canvas.shape[1:], canvas.dtype)
    row[:] = _pixel(step.value, canvas.dtype)
    # Whole rows are copied at memory speed; three values broadcast over all pixels take a hundred times as long.
    canvas[height:] = row
    canvas[:height, width:] = row[width:]


@lru_cache(maxsize=64)
def _pixel(value: tuple[float, float, float], dtype: np.dtype[Any]) -> Pixels:
    """A padded pixel, [3]; 8 bits are rounded half to even and saturated, as `cv2.copyMakeBorder` does."""
    pixel = np.array(value)
    return (np.clip(np.rint(pixel), 0, 255) if dtype == np.uint8 else pixel).astype(dtype)
