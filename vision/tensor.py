"""From 8-bit pixels to the float planes that networks read."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.contract import Normalise
from vision.geometry import Pixels


def normalised(image: Pixels, step: Normalise) -> NDArray[np.float32]:
    """`(x - mean) / std` per channel of [h, w, 3], in float32 as mmdet's and torchvision's preprocessors do."""
    result: NDArray[np.float32] = np.subtract(image, np.array(step.mean, np.float32), dtype=np.float32)
    result /= np.array(step.std, np.float32)
    return result


def write_planes(image: NDArray[np.uint8], step: Normalise, to_rgb: bool, out_chw: NDArray[np.float32]) -> None:
    """The same of 8-bit pixels into planes [3, h, w], optionally from BGR to RGB first (`step` is then in RGB).

    Plane by plane: three short, contiguous passes run several times faster than broadcasting over a last axis of 3.
    """
    planes = cv2.split(image)
    for plane, mean, std, out in zip(planes[::-1] if to_rgb else planes, step.mean, step.std, out_chw, strict=True):
        np.subtract(plane, np.float32(mean), out=out)
        np.divide(out, np.float32(std), out=out)
