"""Pictures made and encoded by the tests themselves."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

ORIENTATION = 0x0112


def quarters(width: int = 60, height: int = 40) -> Image.Image:
    """Red, green, blue, yellow quarters: no two of its eight orientations are alike."""
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    pixels[:top, :left] = (255, 0, 0)
    pixels[:top, left:] = (0, 255, 0)
    pixels[top:, :left] = (0, 0, 255)
    pixels[top:, left:] = (255, 255, 0)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """`image` as a file in `image_format`; without loss, or nearly, unless `options` say otherwise."""
    # Pillow takes no subsampling for CMYK.
    jpeg = {"quality": 100} if image.mode == "CMYK" else {"quality": 100, "subsampling": 0}
    lossless: dict[str, dict[str, Any]] = {"JPEG": jpeg, "WEBP": {"lossless": True, "exact": True}}
    buffer = io.BytesIO()
    image.save(buffer, image_format, **{**lossless.get(image_format, {}), **options})
    return buffer.getvalue()


def bgr_from_pillow(image: Image.Image) -> NDArray[np.int16]:
    """What Pillow takes the picture to be, upright, signed so that differences can be taken."""
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1].astype(np.int16)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Seeded pixels [h, w, 3]: nothing hides a shift by one, and every run sees the same."""
    return np.random.default_rng((seed, height, width)).integers(0, 256, (height, width, 3), dtype=np.uint8)
