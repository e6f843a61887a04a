"""What a photo may be given as: the bytes it is sent as, and its pixels."""

import mimetypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray

from vision.errors import InternalError, InvalidArgument

if TYPE_CHECKING:
    from PIL.Image import Image

Photo: TypeAlias = Union[str, Path, bytes, NDArray[np.uint8], "Image"]
"""A file's path, its encoded bytes, pixels uint8 [h, w, 3] BGR or [h, w] grey, or a picture of Pillow's."""

MAX_PIXELS = 50_000_000
"""Of an encoded photo that is decoded here; read from its header, before there are any pixels."""
PNG_LEVEL = 1
"""Larger by a tenth than the default, and several times quicker."""
MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
"""What Pillow turns into the same pixels that the server would decode: alpha is dropped, palettes are resolved."""


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """A photo as it is sent. `media_type` is None where nothing but the bytes tells it."""

    content: bytes
    name: str | None
    media_type: str | None


def encoded_photo(photo: Photo) -> EncodedPhoto:
    """A photo's bytes: those of the file, or of pixels a PNG, which loses nothing.

    Raises:
        OSError: the file cannot be read.
        InvalidArgument: pixels of another dtype, shape or mode, or no photo at all.
    """
    if isinstance(photo, bytes):
        return EncodedPhoto(photo, None, None)
    if isinstance(photo, str | Path):
        path = Path(photo)
        return EncodedPhoto(path.read_bytes(), path.name, mimetypes.guess_type(path.name)[0])
    return EncodedPhoto(_png(_pixels(photo)), None, "image/png")


def image_from_photo(photo: Photo) -> NDArray[np.uint8]:
    """A photo's pixels, uint8 [h, w, 3] BGR, as a server would decode them.

    Raises:
        OSError: the file cannot be read.
        InvalidImage, UnsupportedMediaType, TooLarge: bytes that cannot be decoded.
        InvalidArgument: pixels of another dtype, shape or mode, or no photo at all.
    """
    if isinstance(photo, str | Path | bytes):
        from vision.decode import image_from_bytes  # OpenCV is not needed to send bytes

        return image_from_bytes(encoded_photo(photo).content, max_pixels=MAX_PIXELS)
    pixels = _pixels(photo)
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels


def frame_bytes(photo: Photo, jpeg_quality: int) -> bytes:
    """A frame of a stream as it is sent: files and bytes as they are, and pixels as a JPEG, which is quick and short.

    Raises:
        OSError: the file cannot be read.
        InvalidArgument: pixels of another dtype, shape or mode, or no photo at all.
    """
    if isinstance(photo, str | Path | bytes):
        return encoded_photo(photo).content
    import cv2

    return _encoded(".jpg", _pixels(photo), [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])


def name_of(photo: Photo) -> str | None:
    """The file's name, where there is a file."""
    return Path(photo).name if isinstance(photo, str | Path) else None


def _pixels(photo: object) -> NDArray[np.uint8]:
    """C-contiguous uint8, [h, w, 3] BGR or [h, w]."""
    if isinstance(photo, np.ndarray):
        return np.ascontiguousarray(_checked(photo))
    if _is_pillow(photo):
        return _pixels_of_pillow(photo)
    raise InvalidArgument(
        f"a {type(photo).__name__} is no photo: give a path, encoded bytes, a NumPy array or a picture of Pillow's"
    )


def _checked(array: NDArray[Any]) -> NDArray[np.uint8]:
    given = f"{array.dtype} {list(array.shape)}"
    if array.dtype != np.uint8:
        raise InvalidArgument(
            f"expected uint8 pixels from 0 to 255, got {given}; scale and convert them with .astype(numpy.uint8)"
        )
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] != 3):
        raise InvalidArgument(
            f"expected one photo, uint8 [height, width, 3] in BGR or [height, width] in grey, got {given};"
            " give the photos of a batch one by one, and three channels without alpha"
        )
    if array.size == 0:
        raise InvalidArgument(f"expected a photo with pixels, got {given}; did the camera give a frame?")
    return array


def _is_pillow(photo: object) -> TypeGuard["Image"]:
    # Who has such a picture has imported Pillow: it need not be imported to find out.
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(photo, pillow.Image)


def _pixels_of_pillow(image: "Image") -> NDArray[np.uint8]:
    from PIL.ImageOps import exif_transpose

    if image.mode not in MODES:
        raise InvalidArgument(
            f"expected a picture of Pillow's in one of the modes {', '.join(MODES)}, got {image.mode};"
            ' convert it with .convert("RGB")'
        )
    upright = exif_transpose(image)
    if upright.mode in ("L", "LA", "1"):
        return _checked(np.asarray(upright.convert("L")))
    return _checked(np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1]))


def _png(image: NDArray[np.uint8]) -> bytes:
    import cv2

    return _encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])


def _encoded(suffix: str, image: NDArray[np.uint8], settings: list[int]) -> bytes:
    import cv2

    done, data = cv2.imencode(suffix, image, settings)
    if not done:
        raise InternalError(f"OpenCV could not encode an image {list(image.shape)} as {suffix}")
    return data.tobytes()
