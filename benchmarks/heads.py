"""What suppression costs: a `yolo` head over 8400 raw predictions, on one core.

    .venv/dev/bin/python -m benchmarks.heads --out benchmarks/results/heads-CONDITIONS.json

Predictions are made up: 30 objects of 12 strong predictions each among faint ones, as a network of 640x640 answers.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from vision.contract import Contract, Input, Output, PadCentred, Provenance, ResizeToFit, YoloHead
from vision.heads import detections_from_outputs
from vision.transforms import Preprocessor

ROWS, SIDE, OBJECTS, EACH = 8400, 640, 30, 12
WARM_UP, ITERATIONS = 5, 100
CLASSES = (1, 80)
THRESHOLDS = (0.25, 0.001)


def predictions(classes: int) -> NDArray[np.float32]:
    """[1, 4 + classes, rows] as `v8`."""
    rng = np.random.default_rng(0)
    raw = np.zeros((4 + classes, ROWS), np.float32)
    raw[:2], raw[2:4] = rng.uniform(0, SIDE, (2, ROWS)), rng.uniform(10, 200, (2, ROWS))
    raw[4:] = rng.uniform(0, 0.01, (classes, ROWS))
    for label in rng.integers(classes, size=OBJECTS):
        rows = rng.integers(ROWS, size=EACH)
        raw[:4, rows] = rng.uniform(50, 550, (4, 1)) + rng.normal(0, 4, (4, EACH))
        raw[4 + label, rows] = rng.uniform(0.3, 0.95, EACH)
    return raw[np.newaxis]


def contract(classes: int) -> Contract:
    size_hw = (SIDE, SIDE)
    return Contract(
        schema_version=1,
        task="detection",
        labels=tuple(f"label {number}" for number in range(classes)),
        max_batch=1,
        input=Input(name="images", dtype="UINT8", layout="NHWC", shape=(*size_hw, 3)),
        outputs=(Output(name="output0", dtype="FP32", shape=(4 + classes, -1)),),
        preprocess=(
            ResizeToFit(size_hw=size_hw, rounding="half_even", interpolation="bilinear", library="opencv"),
            PadCentred(size_hw=size_hw, value=(114, 114, 114)),
        ),
        in_graph=(),
        postprocess=YoloHead(
            layout="v8",
            predictions="output0",
            strides=(),
            score_threshold=0.25,
            iou_threshold=0.7,
            candidates=30_000,
            max_detections=300,
        ),
        provenance=Provenance(source="", source_sha256="", model_sha256="", precision="fp32", created="", tools={}),
    )


def measure(classes: int, threshold: float) -> dict[str, object]:
    """Percentiles in milliseconds, and how many boxes came of it."""
    served, raw = contract(classes), {"output0": predictions(classes)}
    geometry = Preprocessor(served)(np.zeros((1080, 1920, 3), np.uint8))[1]
    seconds = []
    for _ in range(WARM_UP + ITERATIONS):
        start = time.perf_counter()
        [found] = detections_from_outputs(served, raw, [geometry], score_threshold=threshold)
        seconds.append(time.perf_counter() - start)
    figures = record.percentiles(seconds[WARM_UP:])
    print(f"{classes:3} classes, threshold {threshold:5}: {len(found):3} boxes, p50 {figures['p50']} ms")
    return {"classes": classes, "score_threshold": threshold, "boxes": len(found), "ms": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    cv2.setNumThreads(1)
    cases = [measure(classes, threshold) for classes in CLASSES for threshold in THRESHOLDS]
    record.write(out, {"what": "heads", "rows": ROWS, "iterations": ITERATIONS, "cases": cases})


if __name__ == "__main__":
    main()
