"""Cropping the middle."""

from vision.contract import CenterCrop
from vision.errors import InvalidImage
from vision.geometry import Hw


def crop_origin(step: CenterCrop, hw: Hw) -> tuple[int, int]:
    """The first row and column of the crop from an image of size `hw`.

    Raises:
        InvalidImage: if the image is smaller than the crop: the libraries disagree on what that means.
    """
    rows, columns = hw[0] - step.size_hw[0], hw[1] - step.size_hw[1]
    if rows < 0 or columns < 0:
        raise InvalidImage(
            f"the model crops {step.size_hw[1]}x{step.size_hw[0]} pixels, but the image has {hw[1]}x{hw[0]} by then."
            " Send a larger one"
        )
    return _half(rows, step), _half(columns, step)


def _half(rest: int, step: CenterCrop) -> int:
    if step.rounding == "half_even":
        return round(rest / 2)
    return (rest + 1) // 2 if step.rounding == "half_up" else rest // 2
