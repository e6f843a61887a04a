"""The scenes of `render_photos.py`: arrays float32 [h, w, 3] BGR, 0..1, every pixel computed here."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.assets.render_balloons import Image, inflate, noise, scenery

Colour = tuple[float, float, float]
Size = tuple[int, int]

RED, GREEN, BLUE = (0.15, 0.12, 0.85), (0.20, 0.62, 0.18), (0.75, 0.30, 0.10)
YELLOW, ORANGE, PURPLE = (0.10, 0.80, 0.97), (0.05, 0.50, 0.95), (0.55, 0.16, 0.75)
WHITE, BLACK = (0.96, 0.96, 0.96), (0.06, 0.06, 0.06)


def party(size_hw: Size, seed: int, balloons: list[tuple[float, float, float, Colour]]) -> Image:
    """Balloons over a meadow; centre and half width as fractions of the height, from the upper left."""
    height, width = size_hw
    picture = np.ascontiguousarray(scenery(np.random.default_rng(seed), height, width), np.float32)
    for x, y, radius, colour in balloons:
        inflate(picture, x * height, y * height, radius * height, colour)
    return picture


def fruit(size_hw: Size, seed: int) -> Image:
    """Apples, oranges and a banana on a wooden table."""
    height, width = size_hw
    picture = table(np.random.default_rng(seed), height, width, (0.33, 0.50, 0.68))
    unit = min(height, width)
    ball(picture, 0.27 * width, 0.40 * height, 0.19 * unit, RED)
    ball(picture, 0.70 * width, 0.34 * height, 0.17 * unit, ORANGE)
    ball(picture, 0.52 * width, 0.52 * height, 0.16 * unit, (0.25, 0.70, 0.45))
    along = np.linspace(0.15 * np.pi, 0.85 * np.pi, 60)
    for part, width_px in ((BLACK, 0.118), (YELLOW, 0.11), ((0.35, 0.90, 1.0), 0.03)):
        points = np.stack([0.5 * width + 0.36 * unit * np.cos(along), 0.52 * height + 0.30 * unit * np.sin(along)], 1)
        cv2.polylines(picture, [points.astype(np.int32)], False, part, round(width_px * unit), cv2.LINE_AA)
    return picture


def car(size_hw: Size, seed: int, plate: str, paint: Colour, plate_colours: tuple[Colour, Colour]) -> Image:
    """The back of a car with its number plate, on a road."""
    height, width = size_hw
    picture = np.ascontiguousarray(scenery(np.random.default_rng(seed), height, width), np.float32)
    picture[round(0.72 * height) :] = table(np.random.default_rng(seed), height, width, (0.35, 0.34, 0.33))[
        round(0.72 * height) :
    ]
    rectangle(picture, (0.22, 0.22, 0.78, 0.52), (0.8 * paint[0], 0.8 * paint[1], 0.8 * paint[2]))
    rectangle(picture, (0.27, 0.26, 0.73, 0.46), (0.45, 0.38, 0.30))
    rectangle(picture, (0.12, 0.46, 0.88, 0.80), paint)
    rectangle(picture, (0.15, 0.78, 0.28, 0.90), BLACK)
    rectangle(picture, (0.72, 0.78, 0.85, 0.90), BLACK)
    rectangle(picture, (0.14, 0.51, 0.24, 0.58), (0.10, 0.08, 0.75))
    rectangle(picture, (0.76, 0.51, 0.86, 0.58), (0.10, 0.08, 0.75))
    ground, ink = plate_colours
    rectangle(picture, (0.34, 0.60, 0.66, 0.71), ink)
    rectangle(picture, (0.345, 0.607, 0.655, 0.703), ground)
    fitted_text(picture, plate, (0.36, 0.62, 0.64, 0.69), ink)
    return picture


def waste(size_hw: Size, seed: int) -> Image:
    """A bottle, a can and a crumpled box on white."""
    height, width = size_hw
    rng = np.random.default_rng(seed)
    picture = table(rng, height, width, (0.90, 0.91, 0.92))
    box = np.array([[0.05, 0.45], [0.33, 0.38], [0.37, 0.82], [0.08, 0.90]]) * (width, height)
    cv2.fillPoly(picture, [box.astype(np.int32)], (0.42, 0.58, 0.72), cv2.LINE_AA)
    cv2.polylines(picture, [box[[0, 2]].astype(np.int32)], False, (0.30, 0.44, 0.58), 5, cv2.LINE_AA)
    cylinder(picture, (0.48, 0.35, 0.60, 0.90), (0.35, 0.65, 0.25))
    cylinder(picture, (0.52, 0.12, 0.56, 0.38), (0.35, 0.65, 0.25))
    cylinder(picture, (0.70, 0.48, 0.90, 0.88), (0.72, 0.72, 0.74))
    fitted_text(picture, "COLA", (0.73, 0.60, 0.87, 0.74), RED)
    return picture


def desk(size_hw: Size, seed: int) -> Image:
    """A computer mouse with its cable beside a round red sign."""
    height, width = size_hw
    picture = table(np.random.default_rng(seed), height, width, (0.55, 0.62, 0.66))
    unit = min(height, width)
    along = np.linspace(0, 1, 40)
    cable = np.stack([0.35 * width + 0.12 * unit * np.sin(6 * along) * along, 0.40 * height * (1 - along)], 1)
    cv2.polylines(picture, [cable.astype(np.int32)], False, BLACK, max(2, unit // 60), cv2.LINE_AA)
    ball(picture, 0.35 * width, 0.55 * height, 0.17 * unit, (0.16, 0.15, 0.15))
    cv2.line(picture, point(picture, 0.35, 0.40), point(picture, 0.35, 0.52), (0.5, 0.5, 0.5), 3, cv2.LINE_AA)
    cv2.circle(picture, point(picture, 0.74, 0.45), round(0.20 * unit), RED, -1, cv2.LINE_AA)
    fitted_text(picture, "S", (0.69, 0.33, 0.79, 0.57), WHITE)
    return picture


def document(size_hw: Size, seed: int) -> Image:
    """Lines of print in several sizes on yellowed paper: edges of one pixel in grey."""
    height, width = size_hw
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 0.93, np.float32) - 0.05 * noise(rng, height, width, 64)[..., None]
    words = ["parity", "contract", "letterbox", "half to even", "median", "score", "pixel", "tensor", "1 2 3 4 5"]
    top = 0.05
    for line in range(22):
        size = 0.055 if line % 7 == 0 else 0.022
        text = " ".join(rng.choice(words, 3 if line % 7 == 0 else 6).tolist())
        fitted_text(picture, text, (0.07, top, 0.07 + min(0.86, 0.018 * len(text)), top + size), (0.15, 0.15, 0.15))
        top += size * 1.7
    return picture


def test_card(size_hw: Size) -> Image:
    """A zone plate, a star, stripes and patches: what a wrong resize turns into other patterns."""
    height, width = size_hw
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    unit = min(height, width)
    zone = 0.5 + 0.5 * np.cos(np.pi * ((xs - width / 3) ** 2 + (ys - height / 2) ** 2) / unit / 1.3)
    angle = np.arctan2(ys - height / 2, xs - 0.8 * width)
    star = (np.sin(36 * angle) > 0).astype(np.float32)
    picture = np.where((xs > 0.62 * width)[..., None], star[..., None] * np.array(YELLOW), zone[..., None])
    stripes = ((xs // 2) % 2)[..., None] * np.array([0.9, 0.2, 0.4])
    picture = np.where((ys > 0.9 * height)[..., None], stripes, picture)
    chequers = ((xs // 3 + ys // 3) % 2)[..., None] * np.array([0.1, 0.9, 0.5])
    card: Image = np.where((ys < 0.08 * height)[..., None], chequers, picture).astype(np.float32)
    return card


def colours(size_hw: Size) -> Image:
    """Hue to the right, value downwards, and six saturated patches: channels that change places show at once."""
    height, width = size_hw
    hue = np.tile(np.linspace(0, 359, width, dtype=np.float32), (height, 1))
    value = np.repeat(np.linspace(1, 0.15, height, dtype=np.float32)[:, None], width, axis=1)
    picture: Image = np.asarray(
        cv2.cvtColor(np.dstack([hue, np.full_like(hue, 0.85), value]), cv2.COLOR_HSV2BGR), np.float32
    )
    for number, colour in enumerate((RED, GREEN, BLUE, YELLOW, WHITE, BLACK)):
        rectangle(picture, (0.06 + 0.15 * number, 0.40, 0.18 + 0.15 * number, 0.62), colour)
    return picture


def table(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Image:
    """A surface with grain."""
    grain = noise(rng, height, width, 128) + 0.5 * np.sin(40 * noise(rng, height, 1, 64))
    picture: Image = (np.array(colour) * (0.85 + 0.2 * grain[..., None])).clip(0, 1).astype(np.float32)
    return picture


def ball(picture: Image, x: float, y: float, radius: float, colour: Colour) -> None:
    """A shaded sphere with its shadow, in pixels."""
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    shadow = np.exp(-(((xs - x - 0.3 * radius) / radius) ** 2 + ((ys - y - 0.95 * radius) / (0.35 * radius)) ** 2))
    picture *= 1 - 0.5 * shadow[..., None]
    u, v = (xs - x) / radius, (ys - y) / radius
    inside = u**2 + v**2
    depth = np.sqrt(np.clip(1 - inside, 0, 1))
    facing = np.clip(-0.5 * u - 0.6 * v + 0.62 * depth, 0, 1)
    shaded = np.array(colour) * (0.35 + 0.75 * facing[..., None]) + 0.5 * facing[..., None] ** 30
    cover = np.clip((1 - np.sqrt(inside)) * radius + 0.5, 0, 1)[..., None]
    picture[:] = picture * (1 - cover) + np.clip(shaded, 0, 1) * cover


def cylinder(picture: Image, box: tuple[float, float, float, float], colour: Colour) -> None:
    """An upright can, lit from the left."""
    left, top = point(picture, box[0], box[1])
    right, bottom = point(picture, box[2], box[3])
    across = np.linspace(-1, 1, right - left, dtype=np.float32)
    light = 0.35 + 0.6 * np.sqrt(1 - across**2) + 0.4 * np.exp(-((across + 0.45) ** 2) / 0.02)
    picture[top:bottom, left:right] = (light[None, :, None] * np.array(colour)).clip(0, 1)


def rectangle(picture: Image, box: tuple[float, float, float, float], colour: Colour) -> None:
    """Filled; corners are fractions of width and height."""
    cv2.rectangle(picture, point(picture, box[0], box[1]), point(picture, box[2], box[3]), colour, -1, cv2.LINE_AA)


def fitted_text(picture: Image, text: str, box: tuple[float, float, float, float], colour: Colour) -> None:
    """As large as fits into the box."""
    left, top = point(picture, box[0], box[1])
    right, bottom = point(picture, box[2], box[3])
    face = cv2.FONT_HERSHEY_SIMPLEX
    (wide, high), _ = cv2.getTextSize(text, face, 10, 10)
    scale = min((right - left) / wide, (bottom - top) / high) * 10
    mask = np.zeros(picture.shape[:2], np.uint8)  # putText draws into 8-bit images only
    cv2.putText(mask, text, (left, bottom), face, scale, 255, max(1, round(2.4 * scale)), cv2.LINE_AA)
    ink = (mask / np.float32(255))[..., None]
    picture[:] = picture * (1 - ink) + np.array(colour) * ink


def point(picture: Image, x: float, y: float) -> tuple[int, int]:
    """Fractions of width and height as whole pixels."""
    return round(x * picture.shape[1]), round(y * picture.shape[0])


def as_8_bit(picture: Image) -> NDArray[np.uint8]:
    """The finished pixels, drawn at twice their size."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    rounded: NDArray[np.uint8] = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)
    return rounded
