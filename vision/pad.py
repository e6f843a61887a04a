"""Padding, and where the image lies in what is padded."""

from functools import lru_cache
from typing import Any

import numpy as np

from vision.contract import PadCentred, PadToDivisor, PadToSize
from vision.geometry import Hw, Pixels

Pad = PadToSize | PadToDivisor | PadCentred


def padded_hw(step: Pad, hw: Hw) -> Hw:
    """The size that `step` makes; a side that is already larger stays (mmcv `impad`, `impad_to_multiple`)."""
    if isinstance(step, PadToDivisor):
        return -(-hw[0] // step.divisor) * step.divisor, -(-hw[1] // step.divisor) * step.divisor
    return max(hw[0], step.size_hw[0]), max(hw[1], step.size_hw[1])


def pad_origin(step: Pad, inner_hw: Hw, size_hw: Hw) -> tuple[int, int]:
    """The row and column of the padded image at which the image itself begins."""
    if not isinstance(step, PadCentred):
        return 0, 0
    # Ultralytics' LetterBox rounds half of what is missing less 0.1: of an odd rest the smaller half goes first.
    return (size_hw[0] - inner_hw[0]) // 2, (size_hw[1] - inner_hw[1]) // 2


def padded(image: Pixels, size_hw: Hw, step: Pad, out: Pixels | None) -> Pixels:
    """`image` [h, w, 3] in its place in [*size_hw, 3], in `out` if given."""
    if out is None and image.shape[:2] == size_hw:
        return image
    canvas = np.empty((*size_hw, 3), image.dtype) if out is None else out
    np.copyto(inner_view(canvas, (image.shape[0], image.shape[1]), step), image)
    fill_margins(canvas, (image.shape[0], image.shape[1]), step)
    return canvas


def inner_view(canvas: Pixels, inner_hw: Hw, step: Pad) -> Pixels:
    """The part of `canvas` that is not margin."""
    top, left = pad_origin(step, inner_hw, (canvas.shape[0], canvas.shape[1]))
    return canvas[top : top + inner_hw[0], left : left + inner_hw[1]]


def fill_margins(canvas: Pixels, inner_hw: Hw, step: Pad) -> None:
    """Write the padding value around an image of `inner_hw`, and touch nothing else."""
    height, width = canvas.shape[:2]
    top, left = pad_origin(step, inner_hw, (height, width))
    bottom, right = top + inner_hw[0], left + inner_hw[1]
    margins = []
    if top > 0:
        margins.append(canvas[:top])
    if bottom < height:
        margins.append(canvas[bottom:])
    if left > 0:
        margins.append(canvas[top:bottom, :left])
    if right < width:
        margins.append(canvas[top:bottom, right:])
    for margin in margins:
        _fill(margin, _pixel(step.value, canvas.dtype))


def _fill(margin: Pixels, pixel: Pixels) -> None:
    """One value in all channels is set at memory speed, and so are copies of a row; three values take far longer."""
    if pixel[0] == pixel[1] == pixel[2]:
        margin.fill(pixel[0])
        return
    row = np.empty(margin.shape[1:], margin.dtype)
    row[:] = pixel
    margin[:] = row


@lru_cache(maxsize=64)
def _pixel(value: tuple[float, float, float], dtype: np.dtype[Any]) -> Pixels:
    """A padded pixel, [3]; 8 bits are rounded half to even and saturated, as `cv2.copyMakeBorder` does."""
    pixel = np.array(value)
    return (np.clip(np.rint(pixel), 0, 255) if dtype == np.uint8 else pixel).astype(dtype)
