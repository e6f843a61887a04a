"""Encoded bytes to pixels."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.errors import InvalidImage, TooLarge
from vision.exif import TURNED, orientation_from_jpeg
from vision.geometry import Hw, Picture, Scaled
from vision.header import Header, header_from_bytes, require_complete
from vision.turbo import pixels_from_jpeg

FACTORS = (8, 4, 2)
"""By which libjpeg-turbo scales down while it decodes, the quickest first."""

JpegDecoder = Callable[[bytes, Hw], NDArray[np.uint8] | None]
"""From a whole JPEG and its size as stored to its pixels, upright, uint8 [h, w, 3] BGR; None leaves it to OpenCV."""


def exact(data: bytes, stored_hw: Hw) -> NDArray[np.uint8] | None:
    """OpenCV's own pixels, in less time."""
    orientation = orientation_from_jpeg(data)
    return None if orientation is None else pixels_from_jpeg(data, stored_hw, orientation)


def opencv(_data: bytes, _stored_hw: Hw) -> None:
    """Leaves everything to OpenCV."""
    return


def image_from_bytes(data: bytes, *, max_pixels: int, jpeg: JpegDecoder = exact) -> NDArray[np.uint8]:
    """Decode one still JPEG, PNG, WebP or BMP; JPEGs by `jpeg`, and by OpenCV what that leaves.

    Returns uint8 [h, w, 3] in BGR, upright: the EXIF orientation of JPEG, PNG and WebP is applied. Grey becomes
    three equal channels, alpha is dropped without blending, 16 bits keep their upper 8, palettes and CMYK are resolved.

    Raises:
        InvalidImage: not an image, truncated, or its pixels cannot be decoded.
        UnsupportedMediaType: another format, or an animation.
        TooLarge: more than `max_pixels`; found before anything is decoded.
    """
    return _decoded(data, _checked_header(data, max_pixels), jpeg)


def picture_from_bytes(
    data: bytes, resized_hw: Callable[[Hw], Hw], *, max_pixels: int, jpeg: JpegDecoder = exact
) -> Picture:
    """The same, but a JPEG more than twice as large as it will be resized to is scaled down while it is decoded.

    `resized_hw` says to what the network's preprocessing resizes a photo of some height and width. The largest of the
    factors 2, 4 and 8 is taken that leaves both sides larger than that, and none where OpenCV must judge what the
    file is: then, and for other formats, what comes back is `image_from_bytes`'.

    Raises:
        As `image_from_bytes` and `resized_hw`.
    """
    header = _checked_header(data, max_pixels)
    stored_hw = header.height, header.width
    orientation = orientation_from_jpeg(data) if header.format == "jpeg" else None
    if orientation is not None:
        photo_hw = stored_hw[::-1] if orientation in TURNED else stored_hw
        factor = _factor(photo_hw, resized_hw(photo_hw))
        if factor > 1 and (pixels := pixels_from_jpeg(data, stored_hw, orientation, factor)) is not None:
            return Scaled(pixels, photo_hw, factor, _hidden(photo_hw, factor, orientation))
    return _decoded(data, header, jpeg)


def _checked_header(data: bytes, max_pixels: int) -> Header:
    header = header_from_bytes(data)
    if (pixels := header.width * header.height) > max_pixels:
        raise TooLarge(
            f"the image is {header.width}x{header.height}, {pixels:,} pixels; this server takes up to {max_pixels:,}."
            " Send it smaller"
        )
    require_complete(data, header)
    return header


def _decoded(data: bytes, header: Header, jpeg: JpegDecoder) -> NDArray[np.uint8]:
    image = jpeg(data, (header.height, header.width)) if header.format == "jpeg" else None
    if image is None:
        image = _by_opencv(data, header)
    height, width = image.shape[:2]
    if (width, height) not in {(header.width, header.height), (header.height, header.width)}:
        raise InvalidImage(f"the header says {header.width}x{header.height}, but {width}x{height} pixels were decoded")
    return image


def _by_opencv(data: bytes, header: Header) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise _undecodable(header.format) from exc
    if image is None:
        raise _undecodable(header.format)
    return image.astype(np.uint8, copy=False)


def _undecodable(image_format: str) -> InvalidImage:
    return InvalidImage(
        f"the {image_format.upper()} header is sound, but its pixels cannot be decoded: the file is damaged, or of a"
        " kind that OpenCV does not read. Save it again as a plain JPEG or PNG"
    )


def _factor(photo_hw: Hw, wanted_hw: Hw) -> int:
    return next(
        (
            factor
            for factor in FACTORS
            if all(side > factor * wanted for side, wanted in zip(photo_hw, wanted_hw, strict=True))
        ),
        1,
    )


def _hidden(photo_hw: Hw, factor: int, orientation: int) -> tuple[int, int]:
    """Columns and rows, in photo pixels, by which the scaled picture begins before the photo does.

    The last column and row stand for what is left of the photo and, past its end, for nothing; turned over, they come
    first.
    """
    rows, columns = (-side % factor for side in photo_hw)
    return columns if orientation in _FROM_THE_RIGHT else 0, rows if orientation in _FROM_BELOW else 0


_FROM_THE_RIGHT = frozenset({2, 3, 6, 7})
_FROM_BELOW = frozenset({3, 4, 7, 8})
"""Orientations whose upright picture has the stored file's last column or row at its own left, or top."""
