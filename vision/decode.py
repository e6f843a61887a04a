"""Encoded bytes to pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.errors import InvalidImage, TooLarge
from vision.header import header_from_bytes, require_complete


def image_from_bytes(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Decode one still JPEG, PNG, WebP or BMP.

    Returns uint8 [h, w, 3] in BGR, upright: OpenCV applies the EXIF orientation of JPEG, PNG and WebP. Grey becomes
    three equal channels, alpha is dropped without blending, 16 bits keep their upper 8, palettes and CMYK are resolved.

    Raises:
        InvalidImage: not an image, truncated, or its pixels cannot be decoded.
        UnsupportedMediaType: another format, or an animation.
        TooLarge: more than `max_pixels`; found before anything is decoded.
    """
    header = header_from_bytes(data)
    if (pixels := header.width * header.height) > max_pixels:
        raise TooLarge(
            f"the image is {header.width}x{header.height}, {pixels:,} pixels; this server takes up to {max_pixels:,}."
            " Send it smaller"
        )
    require_complete(data, header)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise _undecodable(header.format) from exc
    if image is None:
        raise _undecodable(header.format)
    height, width = image.shape[:2]
    if (width, height) not in {(header.width, header.height), (header.height, header.width)}:
        raise InvalidImage(f"the header says {header.width}x{header.height}, but {width}x{height} pixels were decoded")
    return image.astype(np.uint8, copy=False)


def _undecodable(image_format: str) -> InvalidImage:
    return InvalidImage(
        f"the {image_format.upper()} header is sound, but its pixels cannot be decoded: the file is damaged, or of a"
        " kind that OpenCV does not read. Save it again as a plain JPEG or PNG"
    )
