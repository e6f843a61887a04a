"""What SSD does to a photo before it trains with it (Liu et al., 2016, sections 2.2 and 3.6).

Images are 8-bit BGR; boxes are float32 [n, 4] corners in pixels, and come back as fractions.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]

MEAN = 127
SIZE = 300
LEAST_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)
TRIES = 40


def augmented(image: Image, boxes: Boxes, random: Generator) -> tuple[Image, Boxes]:
    """Colours, a larger canvas, a crop, a mirror, and 300x300, each by chance."""
    image = _recoloured(image, random)
    if random.random() < 0.35:
        image, boxes = _on_a_larger_canvas(image, boxes, random)
    if random.random() < 0.85:
        image, boxes = _cropped(image, boxes, random)
    height, width = image.shape[:2]
    shrinks = max(height, width) > 2 * SIZE and random.random() < 0.5
    image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    boxes = boxes / np.array([width, height, width, height], np.float32)
    if random.random() < 0.5:
        image, boxes = image[:, ::-1], boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0]
    return image, boxes.astype(np.float32)


def _recoloured(image: Image, random: Generator) -> Image:
    contrast, brightness = random.uniform(0.6, 1.4), random.uniform(-32, 32)
    image = cv2.convertScaleAbs(image, alpha=contrast, beta=brightness) if random.random() < 0.7 else image
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + random.integers(-12, 13)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * random.uniform(0.5, 1.5), 0, 255)
    image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    return cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 2.0)) if random.random() < 0.15 else image


def _on_a_larger_canvas(image: Image, boxes: Boxes, random: Generator) -> tuple[Image, Boxes]:
    height, width = image.shape[:2]
    ratio = random.uniform(1, 2)
    canvas = np.full((int(height * ratio), int(width * ratio), 3), MEAN, np.uint8)
    left = int(random.uniform(0, canvas.shape[1] - width))
    top = int(random.uniform(0, canvas.shape[0] - height))
    canvas[top : top + height, left : left + width] = image
    return canvas, boxes + np.array([left, top, left, top], np.float32)


def _cropped(image: Image, boxes: Boxes, random: Generator) -> tuple[Image, Boxes]:
    """A crop that some box overlaps enough; boxes whose centres fall outside it go."""
    height, width = image.shape[:2]
    least = random.choice(LEAST_OVERLAPS)
    for _ in range(TRIES):
        w, h = (int(side * random.uniform(0.25, 1)) for side in (width, height))
        if not 0.5 < (w / width) / (h / height) < 2 or min(w, h) < 32:
            continue
        left, top = int(random.uniform(0, width - w)), int(random.uniform(0, height - h))
        window = np.array([left, top, left + w, top + h], np.float32)
        inner = np.clip(boxes, window[[0, 1, 0, 1]], window[[2, 3, 2, 3]])
        seen = (inner[:, 2:] - inner[:, :2]).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        kept = ((centres > window[:2]) & (centres < window[2:])).all(1) & (seen > 0.3)
        if kept.any() and seen[kept].min() >= least:
            return image[top : top + h, left : left + w], inner[kept] - window[[0, 1, 0, 1]]
    return image, boxes
