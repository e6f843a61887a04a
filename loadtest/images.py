"""What is asked about: photos of a folder, or ones that are made on the spot."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from clients.photos import MAX_PIXELS, encoded_photo
from vision.decode import image_from_bytes
from vision.errors import InvalidArgument, JetserveError

DEFAULT = "made:640x480x8"
MADE = re.compile(r"made:(?P<sizes>\d+x\d+(?:\+\d+x\d+)*)(?:x(?P<count>\d+))?")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
JPEG_QUALITY = 85
MAX_SIDE = 65_500
"""Of a JPEG."""
MAX_MADE = 10_000
CIRCLES = 12


@dataclass(frozen=True, slots=True)
class Image:
    """As it is sent; `size_hw` is upright, as its EXIF orientation says."""

    name: str
    content: bytes
    media_type: str
    size_hw: tuple[int, int]


def images_from_text(text: str, seed: int) -> list[Image]:
    """Of a folder, or of `made:640x480x8`: eight of 640 by 480, of `made:640x480+1920x1080x4` four of each size.

    Raises:
        InvalidArgument: there is no such folder, or no photo in it.
    """
    if text.startswith("made:"):
        found = MADE.fullmatch(text)
        if found is None:
            raise InvalidArgument(f"expected a folder, or made:WIDTHxHEIGHTxCOUNT such as {DEFAULT}, got {text!r}")
        sizes = [(int(width), int(height)) for width, height in re.findall(r"(\d+)x(\d+)", found["sizes"])]
        if wrong := [size for size in sizes if not 1 <= size[0] * size[1] <= MAX_PIXELS or max(size) > MAX_SIDE]:
            raise InvalidArgument(f"photos have 1 to {MAX_PIXELS} pixels, got {wrong[0][0]}x{wrong[0][1]} in {text!r}")
        if found["count"] and not 1 <= int(found["count"]) <= MAX_MADE:
            raise InvalidArgument(f"expected 1 to {MAX_MADE} photos of each size, got {found['count']} in {text!r}")
        random = np.random.default_rng(seed)
        return [made(random, size, number) for size in sizes for number in range(int(found["count"] or 8))]
    folder = Path(text)
    if folder.is_file():
        return [_read(folder)]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InvalidArgument(f"there is no photo in {text!r}; expected a folder of JPEG, PNG, WebP or BMP files")
    return [_read(path) for path in paths]


def made(random: np.random.Generator, size_wh: tuple[int, int], number: int) -> Image:
    """Something like a photo: soft light, circles and grain, as a JPEG of about a photo's size."""
    width, height = size_wh
    light = random.integers(40, 220, (4, 5, 3), np.uint8)
    image_bgr = cv2.resize(light, size_wh, interpolation=cv2.INTER_CUBIC)
    for _ in range(CIRCLES):
        centre = int(random.integers(width)), int(random.integers(height))
        radius = int(random.integers(2, max(3, min(size_wh) // 5)))
        cv2.circle(image_bgr, centre, radius, random.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    grain = random.normal(0, 6, (height, width, 1))
    image_bgr = np.clip(image_bgr + grain, 0, 255).astype(np.uint8)
    content = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return Image(f"made-{width}x{height}-{number}.jpg", content, "image/jpeg", (height, width))


def pixels(image: Image) -> int:
    return image.size_hw[0] * image.size_hw[1]


def described(images: list[Image]) -> dict[str, object]:
    """For a record: how many, how large, and the SHA-256 of all their bytes in order: others are noticed by it."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(len(image.content).to_bytes(8, "big") + image.content)
    sizes = sorted({f"{image.size_hw[1]}x{image.size_hw[0]}" for image in images})
    return {
        "count": len(images),
        "sizes": sizes if len(sizes) <= 8 else [*sizes[:8], f"… {len(sizes)} sizes"],
        "mean_bytes": round(sum(len(image.content) for image in images) / len(images)),
        "sha256": digest.hexdigest(),
    }


def _read(path: Path) -> Image:
    encoded = encoded_photo(path)
    decode: Callable[..., np.ndarray] = image_from_bytes
    try:
        height, width = decode(encoded.content, max_pixels=MAX_PIXELS).shape[:2]
    except JetserveError as exc:
        raise InvalidArgument(f"{path.name} is no photo that can be sent: {exc}") from exc
    return Image(path.name, encoded.content, encoded.media_type or "application/octet-stream", (height, width))
