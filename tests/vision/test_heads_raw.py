"""Heads that suppress for themselves: thresholds, limits, borders, and predictions that contradict the contract."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.vision import predictions
from tests.vision.contracts import ssd_detector, yolo_detector
from tests.vision.predictions import STRIDES
from vision.contract import Contract
from vision.errors import BackendFailure
from vision.geometry import Geometry
from vision.heads import Detections, detections_from_outputs
from vision.heads.suppression import BLOCK, first_of_each_label, survivors

PHOTO = Geometry(photo_hw=(100, 200), scale_xy=(0.5, 0.5), offset_xy=(0, 0))
Outputs = dict[str, NDArray[np.float32]]


def v8(*rows: tuple[float, ...]) -> Outputs:
    """Rows of centre x, centre y, width, height and three scores, as a batch of one."""
    return {"predictions": np.array(rows, np.float32).reshape(-1, 7).T[np.newaxis].copy()}


def found(raw: Outputs, contract: Contract | None = None, **asked: Any) -> Detections:
    return detections_from_outputs(contract or yolo_detector(), raw, [PHOTO], **asked)[0]


def test_threshold_is_exclusive_and_the_requests_wins() -> None:
    """Kept is what scores above the threshold; a request may ask for fainter boxes than the contract."""
    raw = v8((10, 10, 8, 8, 0.5, 0, 0), (30, 10, 8, 8, 0.25, 0, 0), (50, 10, 8, 8, 0.125, 0, 0))
    assert found(raw).scores.tolist() == [0.5]
    assert found(raw, score_threshold=0.0).scores.tolist() == [0.5, 0.25, 0.125]
    assert found(raw, score_threshold=0.5).scores.tolist() == []


def test_types_and_order() -> None:
    """Best first, equal ones in the network's order; float32, and labels as int64."""
    got = found(v8((10, 10, 8, 8, 0.5, 0, 0), (30, 10, 8, 8, 0, 0.75, 0), (50, 10, 8, 8, 0, 0, 0.5)))
    assert got.label_ids.tolist() == [1, 0, 2]
    assert got.boxes_xyxy.tolist() == [[52, 12, 68, 28], [12, 12, 28, 28], [92, 12, 108, 28]]
    assert got.boxes_xyxy.dtype == got.scores.dtype == np.float32
    assert got.label_ids.dtype == np.int64


def test_suppression_is_a_label_at_a_time() -> None:
    """The same box as another object stays; as the same one it goes."""
    raw = v8((10, 10, 8, 8, 0.9, 0, 0), (10, 10, 8, 8, 0.8, 0, 0), (10, 10, 8, 8, 0, 0.7, 0))
    assert found(raw).label_ids.tolist() == [0, 1]


def test_exactly_the_overlap_stays() -> None:
    """Boxes that overlap by just the threshold are two objects: 8x8 and 8x8 shifted by 4 share a third."""
    raw = v8((10, 10, 8, 8, 0.9, 0, 0), (14, 10, 8, 8, 0.8, 0, 0))
    third = float(np.float32(1) / np.float32(3))
    assert len(found(raw, yolo_detector(iou_threshold=third))) == 2
    assert len(found(raw, yolo_detector(iou_threshold=third - 1e-7))) == 1


def test_what_was_suppressed_suppresses_nothing() -> None:
    """A chain of three: the middle goes, and the last, which only the middle overlaps, stays."""
    raw = v8((10, 10, 8, 8, 0.9, 0, 0), (13, 10, 8, 8, 0.8, 0, 0), (16, 10, 8, 8, 0.7, 0, 0))
    assert found(raw, yolo_detector(iou_threshold=0.3)).scores.tolist() == pytest.approx([0.9, 0.7])


def test_limits() -> None:
    """No more than asked, and only so many of the best predictions are looked at."""
    raw = v8(*((10 + 10 * n, 10, 8, 8, 0.9 - n / 10, 0, 0) for n in range(5)))
    assert len(found(raw)) == 5
    assert found(raw, max_detections=2).scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(found(raw, yolo_detector(candidates=3))) == 3


def test_borders() -> None:
    """Clipped to [0, width] x [0, height]; a box beside the photo is dropped, and takes nobody's place."""
    for centre in ((-20, 10), (130, 10), (10, -20), (10, 70)):
        raw = v8((0, 0, 80, 80, 0.9, 0, 0), (*centre, 8, 8, 0.8, 0, 0), (99, 49, 40, 40, 0.7, 0, 0))
        assert found(raw).boxes_xyxy.tolist() == [[0, 0, 80, 80], [158, 58, 200, 100]], centre
        assert len(found(raw, max_detections=2)) == 2


def test_nothing_found() -> None:
    """No predictions above the threshold, or none at all, is an answer."""
    for raw in (v8((10, 10, 8, 8, 0.1, 0, 0)), {"predictions": np.zeros((1, 7, 0), np.float32)}):
        got = found(raw)
        assert (len(got), got.boxes_xyxy.shape) == (0, (0, 4))
        assert got.label_ids.dtype == np.int64


def test_each_photo_of_a_batch_with_its_own_geometry() -> None:
    """Row n of the outputs goes with geometry n."""
    one = v8((10, 10, 8, 8, 0.9, 0, 0))["predictions"]
    raw = {"predictions": np.concatenate([one, one])}
    shifted = Geometry(photo_hw=(100, 200), scale_xy=(1, 1), offset_xy=(2, 3))
    got = detections_from_outputs(yolo_detector(), raw, [PHOTO, shifted])
    assert [photo.boxes_xyxy.tolist() for photo in got] == [[[12, 12, 28, 28]], [[4, 3, 12, 11]]]


@pytest.mark.parametrize("seed", range(3))
def test_objectness_is_a_factor(seed: int) -> None:
    """v5 is v8 with the classes' scores multiplied by objectness."""
    v5 = predictions.v5(seed)
    boxes, classes = v5[..., :4], v5[..., 5:] * v5[..., 4:5]
    as_v8 = np.concatenate([boxes, classes], axis=2).transpose(0, 2, 1).copy()
    one = found({"predictions": v5}, yolo_detector(layout="v5", score_threshold=0.2))
    other = found({"predictions": as_v8}, yolo_detector(layout="v8", score_threshold=0.2))
    assert len(one) > 5
    assert np.array_equal(one.boxes_xyxy, other.boxes_xyxy)
    assert np.array_equal(one.scores, other.scores)
    assert np.array_equal(one.label_ids, other.label_ids)


def test_rows_of_v10_that_are_padding() -> None:
    """Rows of score 0 are filling, whatever label they hold."""
    rows = np.array([[[8, 8, 16, 16, 0.9, 2], [0, 0, 0, 0, 0, -1]]], np.float32)
    assert found({"predictions": rows}, yolo_detector(layout="v10"), score_threshold=0).label_ids.tolist() == [2]


def v10(label: float) -> Outputs:
    return {"predictions": np.array([[[8, 8, 16, 16, 0.9, label]]], np.float32)}


GOOD = v8((10, 10, 8, 8, 0.9, 0, 0))["predictions"]
SPOILT = GOOD.copy()
SPOILT[0, 2, 0] = np.nan


@pytest.mark.parametrize(
    ("raw", "contract", "message"),
    [
        ({}, yolo_detector(), "did not answer with output 'predictions'"),
        ({"predictions": GOOD.astype(np.float16)}, yolo_detector(), "float16"),
        ({"predictions": GOOD[:, :6]}, yolo_detector(), r"float32 \[1, 7, any\].*\[1, 6, 1\]"),
        ({"predictions": np.concatenate([GOOD, GOOD])}, yolo_detector(), r"\[1, 7, any\].*\[2, 7, 1\]"),
        ({"predictions": SPOILT}, yolo_detector(), "NaN"),
        ({"predictions": predictions.v5(0)}, yolo_detector(layout="v10"), r"\[1, any, 6\]"),
        (v10(3), yolo_detector(layout="v10"), "label ids 3 to 3, the contract 0 to 2"),
        (v10(-1), yolo_detector(layout="v10"), "label ids -1"),
        (v10(0.5), yolo_detector(layout="v10"), "should hold label ids, and holds 0.5"),
        (
            {"predictions": predictions.yolox(0)[:, :-1]},
            yolo_detector(layout="yolox", strides=STRIDES),
            "expected 252 rows.* answered 251",
        ),
    ],
)
def test_predictions_that_contradict_the_contract(raw: Outputs, contract: Contract, message: str) -> None:
    """A missing output, a wrong shape, dtype, label or number of rows, or NaN is a backend_failure, not an answer."""
    with pytest.raises(BackendFailure, match=message):
        found(raw, contract)


def test_a_side_beyond_float32() -> None:
    """The exponential of a side that overflows is the network's failure, not a box as large as the photo."""
    raw = predictions.yolox(0)
    raw[0, 0, 2:4] = (200, 0.9)
    raw[0, 0, 4:6] = 1
    with pytest.raises(BackendFailure, match="infinity"):
        found({"predictions": raw}, yolo_detector(layout="yolox", strides=STRIDES))


def ssd(*priors: tuple[tuple[float, ...], tuple[float, ...]]) -> Outputs:
    """Scores (the background first) and box of each prior, as a batch of one."""
    return {
        "scores": np.array([scores for scores, _ in priors], np.float32)[np.newaxis],
        "boxes": np.array([box for _, box in priors], np.float32)[np.newaxis],
    }


BOX = (0.25, 0.25, 0.5, 0.5)
WHOLE = Geometry(photo_hw=(96, 128), scale_xy=(1, 1), offset_xy=(0, 0))


def test_the_background_is_no_label() -> None:
    """Column 0 is dropped, and the first label has id 0; fractions become pixels of the photo."""
    raw = ssd(((0.9, 0.1, 0, 0), BOX), ((0.2, 0.8, 0, 0), BOX))
    got = detections_from_outputs(ssd_detector(), raw, [WHOLE])[0]
    assert (got.label_ids.tolist(), got.boxes_xyxy.tolist()) == ([0], [[32, 24, 64, 48]])


def test_a_prior_may_be_two_things() -> None:
    """Each class that scores above the threshold is a candidate, as pytorch-ssd has it."""
    got = detections_from_outputs(ssd_detector(), ssd(((0.1, 0.5, 0.4, 0), BOX)), [WHOLE])[0]
    assert got.label_ids.tolist() == [0, 1]


def test_candidates_are_of_each_class() -> None:
    """One candidate a class leaves the best of either, not the best of all."""
    boxes = [(n / 8, 0.25, n / 8 + 0.1, 0.5) for n in range(4)]
    scores = [(0.1, 0.9, 0, 0), (0.2, 0.8, 0, 0), (0.3, 0, 0.7, 0), (0.4, 0, 0.6, 0)]
    raw = ssd(*zip(scores, boxes, strict=True))
    got = detections_from_outputs(ssd_detector(candidates=1), raw, [WHOLE])[0]
    assert got.label_ids.tolist() == [0, 1]
    assert got.scores.tolist() == pytest.approx([0.9, 0.7])


def test_a_score_of_exactly_the_threshold() -> None:
    """Dropped, as by every head."""
    raw = ssd(((0.5, 0.5, 0, 0), BOX))
    assert len(detections_from_outputs(ssd_detector(score_threshold=0.5), raw, [WHOLE])[0]) == 0
    assert len(detections_from_outputs(ssd_detector(score_threshold=0.4), raw, [WHOLE])[0]) == 1


@pytest.mark.parametrize(("side", "kept"), [(0.001, 2), (0.002, 2), (0.004, 1), (0.25, 1)])
def test_tiny_boxes_are_spared(side: float, kept: int) -> None:
    """pytorch-ssd adds 0.00001 to the union of fractions: of twins of side s the overlap is s^2 / (s^2 + 0.00001)."""
    box = (0.5, 0.5, 0.5 + side, 0.5 + side)
    raw = ssd(((0.1, 0.9, 0, 0), box), ((0.2, 0.8, 0, 0), box))
    assert len(detections_from_outputs(ssd_detector(), raw, [WHOLE])[0]) == kept


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"scores": np.zeros((1, 1, 3), np.float32)}, r"'scores': expected float32 \[1, any, 4\]"),
        ({"boxes": np.zeros((1, 2, 4), np.float32)}, r"'boxes': expected float32 \[1, 1, 4\]"),
        ({"scores": np.full((1, 1, 4), np.nan, np.float32)}, "'scores' holds NaN"),
        ({"boxes": np.full((1, 1, 4), np.inf, np.float32)}, "'boxes' holds NaN or infinity"),
    ],
)
def test_priors_that_contradict_the_contract(spoilt: Outputs, message: str) -> None:
    """The same of pytorch-ssd's two outputs."""
    with pytest.raises(BackendFailure, match=message):
        detections_from_outputs(ssd_detector(), {**ssd(((0, 1, 0, 0), BOX)), **spoilt}, [WHOLE])


@pytest.mark.parametrize("contract", [ssd_detector(), yolo_detector(layout="yolox", strides=STRIDES)])
def test_heads_that_need_the_size(contract: Contract) -> None:
    """Fractions and grids mean nothing where the contract leaves the input's size open."""
    entry = {**contract.model_dump()["input"], "shape": (-1, -1, 3)}
    with pytest.raises(ValueError, match="needs to know the input's size"):
        Contract.model_validate({**contract.model_dump(), "input": entry})


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_blocks_leave_no_trace(count: int) -> None:
    """Whatever the number of boxes, suppression is that of a loop over pairs."""
    rng = np.random.default_rng(count)
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 30, (count, 2))], axis=1).astype(np.float32)
    ids = rng.integers(2, size=count)
    kept: list[int] = []
    for index in range(count):
        if all(ids[index] != ids[other] or _overlap(boxes[index], boxes[other]) <= 0.5 for other in kept):
            kept.append(index)
    assert list(survivors(boxes, ids, np.float64(0.5))) == kept


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.maximum(sides, np.float32(0)).prod()
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (other, one)]
    return float(shared / (areas[0] + areas[1] - shared))


def test_boxes_without_area() -> None:
    """Two points in one place overlap by nothing: 0 / 0 suppresses neither, and warns nobody."""
    points = np.full((2, 4), 7, np.float32)
    assert list(survivors(points, np.zeros(2, np.int64), np.float64(0.5))) == [0, 1]


def test_the_first_of_each_label() -> None:
    """Positions ascend, whatever the order of the labels."""
    assert first_of_each_label(np.array([2, 0, 2, 2, 0, 1]), 2).tolist() == [0, 1, 2, 4, 5]
    assert first_of_each_label(np.array([], np.int64), 2).tolist() == []
