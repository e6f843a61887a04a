"""What pytorch-ssd's `Predictor` does with a photo, written for torch: the reference that serving is held against.

Nothing here is shared with `vision`: what both agree on they agree on independently.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from builder.frameworks.pytorch_ssd.layout import CANDIDATES, IOU_THRESHOLD, MEAN, STD
from builder.frameworks.pytorch_ssd.priors import INPUT_SIZE

EPSILON = 1e-5
"""In the denominator of the overlap, as in pytorch-ssd's `iou_of`."""


def tensor_from_image(image_bgr: NDArray[np.uint8], size_wh: tuple[int, int] = (INPUT_SIZE, INPUT_SIZE)) -> Tensor:
    """Float32 [3, h, w], RGB, (x - 127) / 128, of an 8-bit BGR image; stretched with OpenCV's linear resize."""
    rgb = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    resized = cv2.resize(rgb, size_wh)
    return torch.from_numpy((resized.astype(np.float32) - MEAN) / STD).permute(2, 0, 1).contiguous()


def detections_from_outputs(
    scores: Tensor, boxes: Tensor, size_hw: tuple[int, int], score_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [m, 4] in photo pixels, scores [m] and label ids [m] without the background, best first.

    Args:
        scores: [n, classes], column 0 the background.
        boxes: [n, 4] x1 y1 x2 y2 as fractions.
        size_hw: of the photo.
        score_threshold: a box must have more.
    """
    height, width = size_hw
    found = []
    for label_id, column in enumerate(scores.T[1:]):
        above = column > score_threshold
        kept = _suppressed(boxes[above], column[above])
        found.append((boxes[above][kept], column[above][kept], torch.full((len(kept),), label_id)))
    corners, confidences, label_ids = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = confidences.argsort(descending=True, stable=True)
    return (corners * torch.tensor([width, height, width, height]))[order], confidences[order], label_ids[order]


def _suppressed(boxes: Tensor, scores: Tensor) -> list[int]:
    """Indices that stay of greedy suppression among the best candidates, best first."""
    order = scores.argsort(descending=True, stable=True)[:CANDIDATES]
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[_overlaps(boxes[order], boxes[best]) <= IOU_THRESHOLD]
    return kept


def _overlaps(boxes: Tensor, box: Tensor) -> Tensor:
    shared = (torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2])).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    area = (box[2:] - box[:2]).clamp(min=0).prod()
    return shared / (areas + area - shared + EPSILON)
