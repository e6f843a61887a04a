"""Heads that suppress for themselves, against what the detectors' own libraries make of the same raw predictions.

`tests/golden/record_heads.py` records them where those libraries are installed. Scores and boxes must be equal to the
last bit or two of float32: suppression that decides one pair otherwise loses or adds a whole row.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.golden.record_heads import CANDIDATES, IOU, MOST, SCORE, SEEDS, nms_input
from tests.vision import predictions
from tests.vision.contracts import ssd_detector, yolo_detector
from tests.vision.predictions import NETWORK_HW, PHOTO_HW, STRIDES
from vision.contract import Contract, ResizeStretch, ResizeToFit
from vision.geometry import Geometry
from vision.heads import Detections, detections_from_outputs
from vision.heads.suppression import survivors
from vision.transforms import Preprocessor

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "heads" / "detections.npz")
ATOL = 2e-5  # px: an ulp at a hundred pixels is 8e-6


def geometry_of(contract: Contract) -> Geometry:
    """Of the photo that the libraries were told of, through the contract's own steps."""
    return Preprocessor(contract)(np.zeros((*PHOTO_HW, 3), np.uint8))[1]


def found(contract: Contract, **outputs: NDArray[np.float32]) -> Detections:
    return detections_from_outputs(contract, outputs, [geometry_of(contract)])[0]


def rows_of(detections: Detections) -> NDArray[Any]:
    return np.column_stack((detections.boxes_xyxy, detections.scores, detections.label_ids))


def clipped(rows: NDArray[Any]) -> NDArray[Any]:
    """To the photo, and without the boxes that lie beside it: what is left of a library that clips nothing."""
    height, width = PHOTO_HW
    on_photo = (rows[:, 0] <= width) & (rows[:, 1] <= height) & (rows[:, 2] >= 0) & (rows[:, 3] >= 0)
    most = (width, height, width, height)
    return np.concatenate([np.clip(rows[on_photo, :4], 0, most), rows[on_photo, 4:]], axis=1)


def yolo(layout: Any, rounding: Any, strides: tuple[int, ...] = ()) -> Contract:
    resize = ResizeToFit(size_hw=NETWORK_HW, rounding=rounding, interpolation="bilinear", library="opencv")
    return yolo_detector(
        resize, layout=layout, strides=strides, score_threshold=SCORE, iou_threshold=IOU, max_detections=MOST
    )


def same(ours: Detections, theirs: NDArray[Any]) -> None:
    rows = rows_of(ours)
    assert rows.shape == theirs.shape
    np.testing.assert_allclose(rows, theirs, rtol=0, atol=ATOL)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("layout", ["v8", "v10"])
def test_as_ultralytics(layout: str, seed: int) -> None:
    """Scores, labels, suppression, the way back through a centred letterbox, and clipping: all as its predictor's."""
    theirs = RECORDED[f"ultralytics {layout}/{seed}"]
    beside = (theirs[:, 0] == theirs[:, 2]) | (theirs[:, 1] == theirs[:, 3])  # it clips a box in the margin to a line
    same(found(yolo(layout, "half_even"), predictions=getattr(predictions, layout)(seed)), theirs[~beside])


@pytest.mark.parametrize("seed", SEEDS)
def test_as_yolox(seed: int) -> None:
    """The same of YOLOX, whose grids the head adds, or finds added."""
    bare = found(yolo("yolox", "floor", STRIDES), predictions=predictions.yolox(seed))
    same(bare, clipped(RECORDED[f"yolox/{seed}"]))
    complete = found(yolo("yolox", "floor"), predictions=predictions.v5(seed))
    same(complete, clipped(RECORDED[f"yolox, grids in the graph/{seed}"]))


@pytest.mark.parametrize("seed", SEEDS)
def test_as_pytorch_ssd(seed: int) -> None:
    """Candidates and suppression of each class, without the background, as its predictor's."""
    step = ResizeStretch(size_hw=NETWORK_HW, interpolation="bilinear", library="opencv")
    contract = ssd_detector(step, score_threshold=SCORE, iou_threshold=IOU, candidates=CANDIDATES, max_detections=10**6)
    scores, boxes = predictions.ssd(seed)
    same(found(contract, scores=scores, boxes=boxes), clipped(RECORDED[f"pytorch-ssd/{seed}"]))


@pytest.mark.parametrize("seed", SEEDS)
def test_as_batched_nms(seed: int) -> None:
    """Fifteen hundred boxes of three labels: the positions that torchvision keeps, in its order."""
    boxes, _, ids = nms_input(seed)
    kept = list(survivors(boxes, ids, np.float64(IOU)))
    assert kept == RECORDED[f"batched_nms/{seed}"].tolist()
