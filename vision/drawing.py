"""Detections and classes drawn on a copy of the photo."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vision.heads import Classification, Detections
from vision.pen import Box, Pen

Bgr = tuple[int, int, int]

PALETTE_BGR: tuple[Bgr, ...] = (
    (0, 159, 230),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (178, 114, 0),
    (0, 94, 213),
    (167, 121, 204),
)
"""By label id, over again after seven: told apart with any colour vision (Okabe and Ito 2008, without their black)."""


def annotated(image_bgr: NDArray[np.uint8], detections: Detections, labels: Sequence[str]) -> NDArray[np.uint8]:
    """A new image [h, w, 3] BGR with every box and its `label score`, the best on top.

    A caption stands above its box, or inside or below where that is free; a worse detection's caption that would cover
    a better one's is left out, its box never.
    """
    picture = image_bgr.copy()
    pen = Pen(picture)
    items = list(zip(_rounded(detections.boxes_xyxy), detections.scores, detections.label_ids.tolist(), strict=True))
    for box, _, label_id in reversed(items):
        pen.box(box, _colour(label_id))
    taken: list[Box] = []
    for box, score, label_id in items:
        text = pen.fitting(labels[label_id], f"{score:.2f}")
        if place := pen.free_place(box, pen.caption_wh(text), taken):
            taken.append(place)
            pen.caption(place, text, _colour(label_id))
    return picture


def captioned(image_bgr: NDArray[np.uint8], classification: Classification, labels: Sequence[str]) -> NDArray[np.uint8]:
    """A new image [h, w, 3] BGR with one `label score` a line in the upper left corner, best first, as many as fit."""
    picture = image_bgr.copy()
    pen = Pen(picture)
    top = 0
    for score, label_id in zip(classification.scores, classification.label_ids.tolist(), strict=True):
        text = pen.fitting(labels[label_id], f"{score:.2f}")
        width, height = pen.caption_wh(text)
        if width > picture.shape[1] or top + height > picture.shape[0]:
            break
        pen.caption((0, top, width, top + height), text, _colour(label_id))
        top += height
    return picture


def _colour(label_id: int) -> Bgr:
    return PALETTE_BGR[label_id % len(PALETTE_BGR)]


def _rounded(boxes_xyxy: NDArray[np.float32]) -> list[Box]:
    """Whole pixels; both corners are part of the box."""
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in np.rint(boxes_xyxy).astype(int).tolist()]
