"""Small pictures of both sides' answers."""

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.parity.report import Pictures
from builder.parity.tensors import Map
from vision.contract import ClassifierHead, Contract
from vision.drawing import annotated, captioned
from vision.heads import Classification, Detections

LONG_EDGE = 480
MOST_CLASSES = 5
HEAT_EDGE = 240

Image = NDArray[np.uint8]
Result = Detections | Classification | None


def pictures(contract: Contract, image_bgr: Image, source: Result, published: Result, gap: Map | None) -> Pictures:
    """The photo with either side's answer on it, and where the tensors differ."""
    small, scale = shrunk(image_bgr, LONG_EDGE)
    return Pictures(_drawn(contract, small, scale, source), _drawn(contract, small, scale, published), _heat(gap))


def _drawn(contract: Contract, small: Image, scale: float, result: Result) -> Image:
    labels = [*contract.labels, *(f"label {n}" for n in range(len(contract.labels), 1000))]
    if isinstance(result, Classification):
        best = Classification(result.scores[:MOST_CLASSES], result.label_ids[:MOST_CLASSES])
        return captioned(small, best, labels)
    if result is None or isinstance(contract.postprocess, ClassifierHead):
        return small
    kept = result.scores > contract.postprocess.score_threshold
    boxes = Detections(result.boxes_xyxy[kept] * np.float32(scale), result.scores[kept], result.label_ids[kept])
    return annotated(small, boxes, labels)


def shrunk(image: Image, long_edge: int) -> tuple[Image, float]:
    """The picture, no side longer than that, and by how much it was scaled."""
    height, width = image.shape[:2]
    scale = min(1.0, long_edge / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale == 1.0:
        return image, scale
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), scale


def _heat(gap: Map | None) -> Image | None:
    """Black where equal, bright where most different."""
    if gap is None or not gap.max() > 0:
        return None
    shown = (np.minimum(gap, 255) / min(255.0, float(gap.max())) * 255).astype(np.uint8)
    small = _small_map(shown)
    return cv2.applyColorMap(small, cv2.COLORMAP_INFERNO).astype(np.uint8, copy=False)


def _small_map(shown: Image) -> Image:
    """Shrunk by taking the largest of each block, so that a single pixel stays visible."""
    factor = -(-max(shown.shape) // HEAT_EDGE)
    kernel = np.ones((factor, factor), np.uint8)
    largest = cv2.dilate(shown, kernel, anchor=(0, 0))
    return np.ascontiguousarray(largest[::factor, ::factor], np.uint8)
