"""From a photo to boxes through a YOLO's ONNX, in plain code that shares nothing with the project's."""

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from builder.source import Source
from tests.builder.yolos import SIZE_HW, STRIDES
from vision.contract import YoloHead


def letterboxed(photo: NDArray[np.uint8], layout: str) -> tuple[NDArray[np.float32], float, int, int]:
    """The tensor [1, 3, h, w], the scale, and the first column and row of the photo in it."""
    height, width = SIZE_HW
    scale = min(height / photo.shape[0], width / photo.shape[1])
    if layout == "yolox":
        inner = (int(photo.shape[1] * scale), int(photo.shape[0] * scale))
        left = top = 0
    else:
        inner = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.full((height, width, 3), 114, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(photo, inner, interpolation=cv2.INTER_LINEAR)
    if layout == "yolox":
        return canvas.transpose(2, 0, 1)[np.newaxis].astype(np.float32), scale, left, top
    rgb = canvas[..., ::-1].transpose(2, 0, 1)[np.newaxis].astype(np.float32) / np.float32(255)
    return rgb, scale, left, top


def decoded(predictions: NDArray[np.float32], layout: str) -> list[tuple[NDArray[np.float64], float, int]]:
    """Box x1 y1 x2 y2 in network pixels, score and label of every prediction."""
    rows = (predictions[0].T if layout == "v8" else predictions[0]).astype(np.float64)
    found = []
    cells = [(x, y, s) for s in STRIDES for y in range(SIZE_HW[0] // s) for x in range(SIZE_HW[1] // s)]
    for index, row in enumerate(rows):
        if layout == "v10":
            found.append((row[:4], float(row[4]), int(row[5])))
            continue
        x, y, width, height = row[:4]
        if layout == "yolox":
            column, line, stride = cells[index]
            x, y, width, height = (
                (x + column) * stride,
                (y + line) * stride,
                np.exp(width) * stride,
                np.exp(height) * stride,
            )
        scores = row[4:] if layout == "v8" else row[4] * row[5:]
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        found.append((box, float(scores.max()), int(scores.argmax())))
    return found


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return float(shared / (areas - shared))


def plainly(source: Source, layout: str, photo: NDArray[np.uint8]) -> list[tuple[list[float], float, int]]:
    head = source.postprocess
    assert isinstance(head, YoloHead)
    tensor, scale, left, top = letterboxed(photo, layout)
    session = ort.InferenceSession(source.onnx, providers=["CPUExecutionProvider"])
    candidates = decoded(np.asarray(session.run(["output0"], {"images": tensor})[0]), layout)
    best = sorted((row for row in candidates if row[1] > head.score_threshold), key=lambda row: -row[1])
    kept: list[tuple[NDArray[np.float64], float, int]] = []
    for row in best:
        if layout == "v10" or all(row[2] != k[2] or overlap(row[0], k[0]) <= head.iou_threshold for k in kept):
            kept.append(row)
    height, width = photo.shape[:2]
    # Ultralytics goes back by the rounded sides, YOLOX by the scale itself.
    scale_x = scale if layout == "yolox" else round(width * scale) / width
    scale_y = scale if layout == "yolox" else round(height * scale) / height
    result = []
    for box, score, label in kept:
        x1, y1, x2, y2 = (box - [left, top, left, top]) / [scale_x, scale_y, scale_x, scale_y]
        if x2 >= 0 and y2 >= 0 and x1 <= width and y1 <= height:
            clipped = [max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)]
            result.append(([float(side) for side in clipped], score, label))
    return result[: head.max_detections]
