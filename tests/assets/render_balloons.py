"""Draw `balloons.jpg`, the picture that ships with the project: no photo, every pixel is computed here.

python tests/assets/render_balloons.py balloons.jpg
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # [h, w, 3] BGR, 0..1

WIDTH, HEIGHT = 1024, 768
SUPERSAMPLING = 2
LIGHT = np.array([-0.45, -0.65, 0.62])

# centre x, y and half width in pixels of the finished picture; BGR
BALLOONS = [
    (180, 230, 95, (0.16, 0.13, 0.86)),
    (400, 260, 88, (0.10, 0.72, 0.97)),
    (630, 200, 100, (0.72, 0.32, 0.12)),
    (510, 470, 92, (0.22, 0.62, 0.18)),
    (860, 260, 82, (0.55, 0.16, 0.78)),
]


def noise(rng: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float32]:
    """Smooth noise of several octaves, [height, width], about 0..1."""
    total = np.zeros((height, width), np.float32)
    weight, sum_of_weights = 1.0, 0.0
    while cell >= 4:
        grid = rng.random((height // cell + 3, width // cell + 3), dtype=np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        sum_of_weights += weight
        weight, cell = weight / 2, cell // 2
    return total / sum_of_weights


def scenery(rng: np.random.Generator, height: int, width: int) -> Image:
    """Sky with clouds over a meadow with a line of trees."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = (1 - down) * np.array([0.80, 0.52, 0.27]) + down * np.array([0.93, 0.84, 0.74])
    clouds = np.clip((noise(rng, height, width, 256) - 0.50) * 4.2, 0, 0.85)[..., None]
    picture = sky * (1 - clouds) + clouds * 0.97
    trees = height * 0.80 - 40 * noise(rng, 1, width, 64)[0] * SUPERSAMPLING
    rows = np.arange(height)[:, None]
    leaves = (0.25 + 0.4 * noise(rng, height, width, 16))[..., None] * np.array([0.28, 0.55, 0.40])
    picture = np.where((rows > trees[None])[..., None], leaves, picture)
    grass = (0.55 + 0.5 * noise(rng, height, width, 12))[..., None] * np.array([0.22, 0.62, 0.45])
    meadow = np.clip((rows - height * 0.83) / 6, 0, 1)[..., None]
    soft: Image = cv2.GaussianBlur((picture * (1 - meadow) + grass * meadow).astype(np.float32), (0, 0), 3.0)
    return soft


def inflate(picture: Image, x: float, y: float, radius: float, colour: tuple[float, float, float]) -> None:
    """Add one balloon, lit from the upper left, with a knot and a string; x, y and radius in pixels of `picture`."""
    height, width = picture.shape[:2]
    xs, ys = np.meshgrid(np.arange(width) - x, np.arange(height) - y)
    narrowing = np.where(ys > 0, 1 - 0.20 * np.clip(ys / (radius * 1.22), 0, 1) ** 2, 1.0)
    u, v = xs / (radius * narrowing), ys / (radius * 1.22)
    inside = u**2 + v**2
    depth = np.sqrt(np.clip(1 - inside, 0, 1))
    light = LIGHT / np.linalg.norm(LIGHT)
    facing = np.clip(u * light[0] + v * light[1] + depth * light[2], 0, 1)
    half_way = (light + np.array([0, 0, 1])) / np.linalg.norm(light + np.array([0, 0, 1]))
    mirror = np.clip(u * half_way[0] + v * half_way[1] + depth * half_way[2], 0, 1)
    body = np.array(colour)
    shaded = body * (0.42 + 0.62 * facing[..., None]) + 0.10 * (1 - depth[..., None]) * (body + 0.25)
    shaded = shaded + 0.75 * (mirror[..., None] ** 60) + 0.10 * (mirror[..., None] ** 8)
    cover = np.clip((1 - np.sqrt(inside)) * radius + 0.5, 0, 1)[..., None]
    string(picture, x, y + radius * 1.30, radius)
    knot = np.array(
        [[x - radius * 0.09, y + radius * 1.33], [x + radius * 0.09, y + radius * 1.33], [x, y + radius * 1.17]],
        np.int32,
    )
    cv2.fillPoly(picture, [knot], tuple(float(c) * 0.7 for c in colour), cv2.LINE_AA)
    picture[:] = picture * (1 - cover) + np.clip(shaded, 0, 1) * cover


def string(picture: Image, x: float, top: float, radius: float) -> None:
    """A thin string that sways down from the knot."""
    along = np.linspace(0, 1, 60)
    sway = np.sin(along * 5 + x) * radius * 0.10 * along
    points = np.stack([x + sway, top + along * radius * 2.6], axis=1)
    cv2.polylines(picture, [points.astype(np.int32)], False, (0.85, 0.88, 0.9), 2, cv2.LINE_AA)


def render() -> NDArray[np.uint8]:
    """The picture, [HEIGHT, WIDTH, 3] BGR."""
    rng = np.random.default_rng(7)
    picture = scenery(rng, HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)
    for x, y, radius, colour in BALLOONS:
        inflate(picture, x * SUPERSAMPLING, y * SUPERSAMPLING, radius * SUPERSAMPLING, colour)
    small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    grain = rng.normal(0, 0.012, small.shape)
    picture_8bit: NDArray[np.uint8] = np.clip((small + grain) * 255, 0, 255).astype(np.uint8)
    return picture_8bit


if __name__ == "__main__":
    cv2.imwrite(str(Path(sys.argv[1])), render(), [cv2.IMWRITE_JPEG_QUALITY, 90])
