"""JPEG by libjpeg-turbo without OpenCV around it: the same pixels, sooner."""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vision.geometry import Hw

_UPRIGHT = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: lambda image: cv2.transpose(image),
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def pixels_from_jpeg(data: bytes, stored_hw: Hw, orientation: int, factor: int = 1) -> NDArray[np.uint8] | None:
    """Decode a JPEG of `stored_hw`, upright; with `factor` 2, 4 or 8 every side is `ceil(side / factor)`.

    Scaled decoding inverts the cosine transform of each block of 8x8 at 8 / factor to a side.

    Returns uint8 [h, w, 3] in BGR, equal to OpenCV's; None where libjpeg-turbo has anything to complain about, or the
    file is of a kind that it does not turn into BGR (CMYK), or not of that size.
    """
    height, width = (-(-side // factor) for side in stored_hw)
    try:
        image = simplejpeg.decode_jpeg(
            data, "BGR", min_height=height if factor > 1 else 0, min_width=width if factor > 1 else 0, min_factor=factor
        )
    except ValueError:
        return None
    if image.shape != (height, width, 3):
        return None
    return np.asarray(_UPRIGHT[orientation](image) if orientation > 1 else image, np.uint8)
