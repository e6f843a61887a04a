"""Pictures as files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 90
SUFFIXES = (".jpg", ".jpeg", ".png")


def write_picture(path: Path, image_bgr: NDArray[np.uint8]) -> None:
    """Write uint8 [h, w, 3] BGR as the suffix says, making folders as needed.

    Raises:
        OSError: it cannot be written.
    """
    import cv2

    suffix = path.suffix.lower()
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(suffix, image_bgr, settings)
    if not done:
        raise OSError(f"OpenCV could not encode {path}, a picture {list(image_bgr.shape)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
