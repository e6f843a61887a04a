"""Raw predictions such as networks make: crowds of boxes around a few objects, seeded."""

import numpy as np
from numpy.typing import NDArray

NETWORK_HW, PHOTO_HW = (96, 128), (61, 83)
CLASSES = 3
STRIDES = (8, 16, 32)
CELLS = sum((NETWORK_HW[0] // stride) * (NETWORK_HW[1] // stride) for stride in STRIDES)

Floats = NDArray[np.float32]


def centred_boxes(rng: np.random.Generator, count: int = CELLS) -> Floats:
    """[count, 4] centre x, centre y, width, height in network pixels; some reach over the borders."""
    objects = np.stack([*rng.uniform((0, 0), NETWORK_HW[::-1], (6, 2)).T, *rng.uniform(10, 60, (2, 6))], axis=1)
    boxes = objects[rng.integers(6, size=count)] + rng.normal(0, 3, (count, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    return boxes.astype(np.float32)


def class_scores(rng: np.random.Generator, count: int = CELLS, classes: int = CLASSES) -> Floats:
    """[count, classes]: most are faint, and no two alike."""
    return (rng.uniform(0, 1, (count, classes)) ** 2).astype(np.float32)


def v8(seed: int) -> Floats:
    """[1, 4 + classes, n]."""
    rng = np.random.default_rng(seed)
    return np.concatenate([centred_boxes(rng), class_scores(rng)], axis=1).T[np.newaxis].copy()


def v5(seed: int) -> Floats:
    """[1, n, 5 + classes]; also YOLOX's, with its grids added."""
    rng = np.random.default_rng(seed)
    return np.concatenate([centred_boxes(rng), class_scores(rng, classes=1 + CLASSES)], axis=1)[np.newaxis]


def v10(seed: int) -> Floats:
    """[1, n, 6], by falling score, filled up with zeros."""
    rng = np.random.default_rng(seed)
    boxes, scores = centred_boxes(rng, 20), np.sort(class_scores(rng, 20, 1), axis=0)[::-1]
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    rows = np.concatenate([corners, scores, rng.integers(CLASSES, size=(20, 1))], axis=1)
    return np.concatenate([rows, np.zeros((10, 6))])[np.newaxis].astype(np.float32)


def yolox(seed: int) -> Floats:
    """[1, n, 5 + classes] with boxes relative to their cells, and logarithms of sides."""
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(-1, 2, (CELLS, 2)), rng.uniform(0, 1.5, (CELLS, 2))], axis=1)
    return np.concatenate([boxes, class_scores(rng, classes=1 + CLASSES)], axis=1)[np.newaxis].astype(np.float32)


def ssd(seed: int, priors: int = 400) -> tuple[Floats, Floats]:
    """Scores [1, n, 1 + classes] that add up to 1, and boxes [1, n, 4] as fractions, tiny ones among them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (priors, 1 + CLASSES))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    boxes = centred_boxes(rng, priors) / np.array(NETWORK_HW[::-1] * 2, np.float32)
    boxes[: priors // 4, 2:] /= 100
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    return scores[np.newaxis].astype(np.float32), corners[np.newaxis].astype(np.float32)
