"""The images a model is verified on: photos that were given, and some that are made here."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SIZES_HW = ((480, 640), (640, 480), (500, 500), (375, 1000))  # landscape, portrait, square, wide


@dataclass(frozen=True, slots=True)
class Probe:
    """One image, uint8 [h, w, 3] BGR; `is_photo` if a person gave it, and wants it served."""

    name: str
    image_bgr: Image
    is_photo: bool = False


def probes_from_photos(photos: Iterable[tuple[str, Image]]) -> list[Probe]:
    """The photos given, each with its name, then the synthetic ones, the same each time."""
    rng = np.random.default_rng(0)
    made = [Probe(f"synthetic {w}x{h}", _drawn(rng, h, w)) for h, w in SIZES_HW]
    return [*(Probe(name, image, is_photo=True) for name, image in photos), *made]


def _drawn(rng: np.random.Generator, height: int, width: int) -> Image:
    """Coloured rectangles with some noise: edges, flat areas, every channel different. uint8 [height, width, 3]."""
    image = np.full((height, width, 3), rng.integers(0, 256, 3), np.int16)
    for _ in range(12):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        image[top : top + height // 3, left : left + width // 4] = rng.integers(0, 256, 3)
    noisy: NDArray[np.int64] = image + rng.integers(-12, 13, image.shape)
    return noisy.clip(0, 255).astype(np.uint8)
