"""Draw the pictures that every recipe is compared on: no photos, every pixel is computed.

    python -m tests.assets.render_photos recipes/photos

Between them they hold what serving meets and conversions get wrong: sizes that round up and down, both orientations,
extreme shapes, EXIF orientations, grey, palette and alpha, and the ways JPEG stores colour.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from tests.assets import scenes
from tests.assets.render_balloons import Image
from tests.assets.scenes import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, WHITE, YELLOW

TURNS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
"""How a camera held that way stored the upright picture, by EXIF orientation."""
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """`size_hw` upright, as seen; `subsampling` as Pillow names it."""

    name: str
    size_hw: tuple[int, int]
    quality: int = 90
    subsampling: str = "4:2:0"
    orientation: int = 1
    mode: str = "RGB"


PICTURES = (
    Picture("balloons-landscape.jpg", (479, 641)),
    Picture("balloons-portrait.jpg", (803, 471), 85, "4:4:4"),
    Picture("balloons-turned-left.jpg", (700, 433), 80, orientation=6),
    Picture("balloons-large.jpg", (1080, 1800), 60),
    Picture("balloons-panorama.jpg", (211, 1500), 75),
    Picture("tower.jpg", (1200, 127), 75),
    Picture("fruit-upside-down.jpg", (375, 500), 82, orientation=3),
    Picture("fruit-square.png", (225, 225)),
    Picture("car-red.jpg", (540, 721), 75, "4:2:2"),
    Picture("car-close-turned-right.jpg", (641, 355), 88, orientation=8),
    Picture("waste.jpg", (384, 512), 78),
    Picture("desk.jpg", (367, 549), 92, "4:2:2"),
    Picture("document-grey.jpg", (848, 601), 65, mode="L"),
    Picture("test-card-palette.png", (300, 437), mode="P"),
    Picture("colours.jpg", (256, 256), 95, "4:4:4"),
    Picture("sign-alpha.png", (213, 300), mode="RGBA"),
    Picture("tiny.jpg", (29, 37), 95, "4:4:4"),
)


def scene(name: str, hw: tuple[int, int]) -> Image:
    """The picture of that name, at `hw`."""
    few = [(0.42, 0.40, 0.15, RED), (0.85, 0.33, 0.13, YELLOW), (1.10, 0.55, 0.11, BLUE)]
    many = (RED, YELLOW, BLUE, GREEN) * 2
    drawn: dict[str, Callable[[], Image]] = {
        "balloons-landscape.jpg": lambda: scenes.party(hw, 3, few),
        "balloons-portrait.jpg": lambda: scenes.party(hw, 5, [(0.20, 0.25, 0.12, PURPLE), (0.42, 0.42, 0.10, GREEN)]),
        "balloons-turned-left.jpg": lambda: scenes.party(hw, 8, [(0.31, 0.35, 0.17, RED), (0.14, 0.60, 0.07, ORANGE)]),
        "balloons-large.jpg": lambda: scenes.party(
            hw, 11, [(0.20 + 0.2 * n, 0.30 + 0.09 * (n % 3), 0.08, c) for n, c in enumerate(many)]
        ),
        "balloons-panorama.jpg": lambda: scenes.party(hw, 13, [(1.2, 0.4, 0.20, RED), (4.9, 0.45, 0.22, BLUE)]),
        "tower.jpg": lambda: scenes.party(hw, 17, [(0.052, 0.2, 0.03, RED), (0.050, 0.55, 0.035, YELLOW)]),
        "fruit-upside-down.jpg": lambda: scenes.fruit(hw, 19),
        "fruit-square.png": lambda: scenes.fruit(hw, 23),
        "car-red.jpg": lambda: scenes.car(hw, 29, "KA 4711", RED, (WHITE, BLACK)),
        "car-close-turned-right.jpg": lambda: scenes.car(hw, 31, "A-12345", WHITE, ((0.55, 0.25, 0.05), WHITE)),
        "waste.jpg": lambda: scenes.waste(hw, 37),
        "desk.jpg": lambda: scenes.desk(hw, 41),
        "document-grey.jpg": lambda: scenes.document(hw, 43),
        "test-card-palette.png": lambda: scenes.test_card(hw),
        "colours.jpg": lambda: scenes.colours(hw),
        "sign-alpha.png": lambda: scenes.desk(hw, 47),
        "tiny.jpg": lambda: scenes.party(hw, 53, [(0.6, 0.45, 0.28, RED)]),
    }
    return drawn[name]()


def encoded(picture: Picture, pixels_bgr: NDArray[np.uint8], path: Path) -> None:
    """Write one picture in the format that its name says."""
    turned = cv2.rotate(pixels_bgr, TURNS[picture.orientation]) if picture.orientation != 1 else pixels_bgr
    image = Pillow.fromarray(np.ascontiguousarray(turned[..., ::-1]))
    if picture.mode == "P":
        image = image.quantize(96, dither=Pillow.Dither.NONE)
    elif picture.mode == "RGBA":
        height, width = pixels_bgr.shape[:2]
        ys, xs = np.mgrid[:height, :width]
        inside = ((xs / width - 0.5) ** 2 + (ys / height - 0.5) ** 2) * 900
        image.putalpha(Pillow.fromarray(np.clip(255 - inside, 0, 255).astype(np.uint8)))
    else:
        image = image.convert(picture.mode)
    if path.suffix == ".png":
        image.save(path, optimize=True)
        return
    exif = Pillow.Exif()
    if picture.orientation != 1:
        exif[ORIENTATION] = picture.orientation
    grey = picture.mode == "L"
    subsampling = "4:4:4" if grey else picture.subsampling
    image.save(path, quality=picture.quality, optimize=True, exif=exif, subsampling=subsampling)


def main(folder: Path) -> None:
    """Every picture into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        height, width = picture.size_hw
        pixels = scenes.as_8_bit(scene(picture.name, (2 * height, 2 * width)))
        encoded(picture, pixels, folder / picture.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
