"""How pytorch-ssd's networks are fed and read, in the contract's words; standard library only.

The figures are pytorch-ssd's: mean 127 and deviation 128 (`vision/ssd/config/mobilenetv1_ssd_config.py`), overlap 0.45,
200 candidates a class (`vision/ssd/predictor.py`), and score 0.4 (`run_ssd_example.py`).
"""

from typing import Any

INPUT, SCORES, BOXES = "input_0", "scores", "boxes"
MEAN, STD = 127.0, 128.0
IOU_THRESHOLD = 0.45
CANDIDATES = 200
SCORE_THRESHOLD = 0.4
MAX_DETECTIONS = 100
"""Ours: pytorch-ssd keeps all, or ten a class in its example."""


def steps(size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """From a decoded photo to the tensor."""
    return [
        {"op": "resize_stretch", "size_hw": list(size_hw), "interpolation": "bilinear", "library": "opencv"},
        {"op": "to_rgb"},
        {"op": "normalise", "mean": [MEAN] * 3, "std": [STD] * 3},
    ]


def head() -> dict[str, Any]:
    """From scores and boxes to detections."""
    return {
        "head": "ssd",
        "scores": SCORES,
        "boxes": BOXES,
        "score_threshold": SCORE_THRESHOLD,
        "iou_threshold": IOU_THRESHOLD,
        "candidates": CANDIDATES,
        "max_detections": MAX_DETECTIONS,
    }
