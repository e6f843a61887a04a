"""Cropping the middle."""

from vision.contract import CenterCrop, CropCentralSquare
from vision.errors import InvalidImage
from vision.geometry import Hw

Crop = CenterCrop | CropCentralSquare


def crop_origin(step: Crop, hw: Hw) -> tuple[int, int]:
    """The first row and column of the crop from an image of size `hw`.

    Raises:
        InvalidImage: if the image is smaller than the crop: the libraries disagree on what that means.
    """
    if isinstance(step, CropCentralSquare):
        side = _central_side(step, hw)
        return _central_start(hw[0], side), _central_start(hw[1], side)
    rows, columns = hw[0] - step.size_hw[0], hw[1] - step.size_hw[1]
    if rows < 0 or columns < 0:
        raise InvalidImage(
            f"the model crops {step.size_hw[1]}x{step.size_hw[0]} pixels, but the image has {hw[1]}x{hw[0]} by then."
            " Send a larger one"
        )
    return _half(rows, step), _half(columns, step)


def cropped_hw(step: Crop, hw: Hw) -> Hw:
    """The size that `step` makes of an image of size `hw`.

    Raises:
        InvalidImage: if the image is smaller than the crop, or nothing would be left of it.
    """
    if isinstance(step, CenterCrop):
        crop_origin(step, hw)
        return step.size_hw
    side = _central_side(step, hw)
    height, width = (_central_length(length, side) for length in hw)
    if min(height, width) < 1:
        raise InvalidImage(f"the image is {hw[1]}x{hw[0]}: nothing is left of its middle square. Send a larger one")
    return height, width


def _half(rest: int, step: CenterCrop) -> int:
    if step.rounding == "half_even":
        return round(rest / 2)
    return (rest + 1) // 2 if step.rounding == "half_up" else rest // 2


def _central_side(step: CropCentralSquare, hw: Hw) -> float:
    """Not yet whole pixels: mmpretrain rounds where the square starts and where it ends, each for itself."""
    return step.size / (step.size + step.padding) * min(hw)


def _central_start(length: int, side: float) -> int:
    return max(0, round((length - side) / 2))


def _central_length(length: int, side: float) -> int:
    start = _central_start(length, side)
    return min(int(start + side - 1), length - 1) - start + 1
