"""Raw outputs to detections and classes: thresholds, clipping, order, and outputs that contradict the contract."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.vision.contracts import classifier, detector
from vision.errors import BackendFailure, ContractError
from vision.geometry import Geometry
from vision.heads import classifications_from_outputs, detections_from_outputs

PHOTO = Geometry(photo_hw=(100, 200), scale_xy=(0.5, 0.25), offset_xy=(0, 0))


def outputs(*rows: tuple[float, float, float, float, float, int]) -> dict[str, NDArray[Any]]:
    """x1 y1 x2 y2 score label in network pixels, as a batch of one."""
    dets = np.array([row[:5] for row in rows], np.float32).reshape(1, -1, 5)
    return {"dets": dets, "labels": np.array([[row[5] for row in rows]], np.int64)}


def test_boxes_in_photo_pixels() -> None:
    """Each axis is divided by its own scale."""
    (found,) = detections_from_outputs(detector(), outputs((10, 5, 50, 20, 0.9, 1)), [PHOTO])
    assert found.boxes_xyxy.tolist() == [[20, 20, 100, 80]]
    assert found.label_ids.tolist() == [1]
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32
    assert found.label_ids.dtype == np.int64


def test_clipped_as_the_sdk_clips() -> None:
    """Left and top stop at 0, right and bottom at the last pixel; a box wholly outside is dropped."""
    (found,) = detections_from_outputs(
        detector(), outputs((-9, -9, 900, 900, 0.9, 0), (101, 2, 110, 9, 0.8, 0), (-9, 2, -1, 9, 0.7, 0)), [PHOTO]
    )
    assert found.boxes_xyxy.tolist() == [[0, 0, 199, 99]]


@pytest.mark.parametrize("beside", [(-9, 2, -1, 9), (101, 2, 110, 9), (2, -9, 9, -1), (2, 26, 9, 30)])
def test_a_box_beside_the_photo_leaves_no_trace(beside: tuple[float, float, float, float]) -> None:
    """To the left, right, above or below: neither its score nor its label stays, and it takes nobody's place."""
    raw = outputs((10, 5, 50, 20, 0.9, 0), (*beside, 0.8, 0), (20, 5, 30, 20, 0.7, 1))
    (found,) = detections_from_outputs(detector(), raw, [PHOTO], max_detections=2)
    assert found.boxes_xyxy.tolist() == [[20, 20, 100, 80], [40, 20, 60, 80]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.label_ids.tolist() == [0, 1]


def test_a_box_without_an_area_on_the_border_stays() -> None:
    """Only what ends before it begins lay outside, as in the SDK."""
    (found,) = detections_from_outputs(detector(), outputs((10, 5, 10, 5, 0.9, 0), (-9, 2, 0, 9, 0.8, 0)), [PHOTO])
    assert found.boxes_xyxy.tolist() == [[20, 20, 20, 20], [0, 8, 0, 36]]


def test_threshold_is_exclusive_and_the_requests_wins() -> None:
    """Kept is what scores above the threshold; the contract's holds unless the request gives one, even 0."""
    raw = outputs((0, 0, 9, 9, 0.5, 0), (0, 0, 9, 9, 0.25, 0), (0, 0, 9, 9, 0.125, 0))
    contract = detector(score_threshold=0.25)
    assert [len(d) for d in detections_from_outputs(contract, raw, [PHOTO])] == [1]
    assert [len(d) for d in detections_from_outputs(contract, raw, [PHOTO], score_threshold=0)] == [3]
    assert [len(d) for d in detections_from_outputs(contract, raw, [PHOTO], score_threshold=0.9)] == [0]


def test_best_first_and_no_more_than_asked() -> None:
    """Detections come by falling score, equal ones in the network's order, cut at the limit."""
    raw = outputs((0, 0, 1, 1, 0.5, 0), (0, 0, 2, 2, 0.75, 1), (0, 0, 3, 3, 0.5, 0))
    (found,) = detections_from_outputs(detector(), raw, [PHOTO])
    assert found.boxes_xyxy[:, 2].tolist() == [4, 2, 6]
    (found,) = detections_from_outputs(detector(), raw, [PHOTO], max_detections=1)
    assert (found.boxes_xyxy.tolist(), found.scores.tolist(), found.label_ids.tolist()) == ([[0, 0, 4, 8]], [0.75], [1])
    (found,) = detections_from_outputs(detector(max_detections=2), raw, [PHOTO])
    assert len(found) == 2


def test_each_photo_of_a_batch_with_its_own_geometry() -> None:
    """Row n of the outputs goes with geometry n."""
    one = outputs((10, 10, 20, 20, 0.9, 0))
    raw = {name: np.concatenate([array, array]) for name, array in one.items()}
    half = Geometry(photo_hw=(100, 200), scale_xy=(1, 1), offset_xy=(-5, -6))
    found = detections_from_outputs(detector(), raw, [PHOTO, half])
    assert [d.boxes_xyxy.tolist() for d in found] == [[[20, 40, 40, 80]], [[15, 16, 25, 26]]]


def test_nothing_found() -> None:
    """No boxes at all is an answer, not an error."""
    (found,) = detections_from_outputs(detector(), outputs(), [PHOTO])
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_labels_of_padding_rows_are_not_looked_at() -> None:
    """TensorRT fills up with rows of score 0 and label -1."""
    (found,) = detections_from_outputs(
        detector(), outputs((0, 0, 9, 9, 0.9, 1), (0, 0, 0, 0, 0.0, -1)), [PHOTO], score_threshold=0
    )
    assert found.label_ids.tolist() == [1]


def test_labels_may_be_int32_and_rows_of_a_fixed_number() -> None:
    """As an engine gives them, and as the builder makes graphs for engines; the answer is the same."""
    contract = detector()
    dets, labels = contract.outputs
    fixed = contract.model_copy(
        update={
            "outputs": (
                dets.model_copy(update={"shape": (4, 5)}),
                labels.model_copy(update={"dtype": "INT32", "shape": (4,)}),
            )
        }
    )
    rows = ((10, 5, 50, 20, 0.9, 1), (0, 0, 9, 9, 0.5, 0))
    plain = outputs(*rows)
    padded = outputs(*rows, (0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0))
    padded["labels"] = padded["labels"].astype(np.int32)
    (expected,) = detections_from_outputs(contract, plain, [PHOTO])
    (found,) = detections_from_outputs(fixed, padded, [PHOTO], score_threshold=0)
    np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
    np.testing.assert_array_equal(found.label_ids, expected.label_ids)
    assert found.label_ids.dtype == np.int64
    with pytest.raises(BackendFailure, match="expected int32"):
        detections_from_outputs(fixed, plain, [PHOTO])


GOOD = outputs((0, 0, 9, 9, 0.9, 1))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"dets": GOOD["dets"]}, "did not answer with output 'labels', only with .'dets'"),
        ({**GOOD, "dets": GOOD["dets"].astype(np.float16)}, r"'dets': expected float32 \[1, any, 5\].*float16"),
        ({**GOOD, "dets": GOOD["dets"][..., :4]}, r"'dets': expected float32 \[1, any, 5\].*\[1, 1, 4\]"),
        ({**GOOD, "dets": GOOD["dets"][0]}, r"'dets'.*\[1, 5\]"),
        ({name: np.concatenate([array, array]) for name, array in GOOD.items()}, r"'dets'.*\[2, 1, 5\]"),
        ({**GOOD, "labels": GOOD["labels"].astype(np.int32)}, "'labels': expected int64.*int32"),
        ({**GOOD, "labels": np.zeros((1, 2), np.int64)}, r"'labels': expected int64 \[1, 1\].*\[1, 2\]"),
        ({**GOOD, "labels": np.array([[2]])}, "'labels' holds label ids 2 to 2, the contract 0 to 1"),
        ({**GOOD, "labels": np.array([[-1]])}, "'labels' holds label ids -1"),
        ({**GOOD, "dets": np.full((1, 1, 5), np.nan, np.float32)}, "'dets' holds NaN"),
        ({**GOOD, "dets": np.full((1, 1, 5), np.inf, np.float32)}, "'dets' holds NaN or infinity"),
        (outputs((0, 0, 9, 9, 0.9, 1), (0, 0, 9, np.nan, 0.1, 1)), "'dets' holds NaN"),
        (outputs((0, 0, 9, 9, 0.9, 1), (0, 0, 9, 9, np.nan, 1)), "'dets' holds NaN"),
        (outputs((0, 0, 9, 9, 0.9, 1), (-np.inf, 0, 9, 9, 0.9, 1)), "'dets' holds NaN or infinity"),
    ],
)
def test_outputs_that_contradict_the_contract(broken: dict[str, NDArray[Any]], message: str) -> None:
    """A missing output, a wrong shape, dtype or label, or NaN in any row is a backend_failure that names the output."""
    with pytest.raises(BackendFailure, match=message):
        detections_from_outputs(detector(), broken, [PHOTO])


def probabilities(*rows: tuple[float, ...]) -> dict[str, NDArray[Any]]:
    return {"probs": np.array(rows, np.float32)}


def test_top_k() -> None:
    """The best k of each photo, by falling score; the contract's k unless the request gives one."""
    raw = probabilities((0.25, 0.5, 0.125), (0.0, 0.25, 0.75))
    first, second = classifications_from_outputs(classifier(), raw)
    assert (first.label_ids.tolist(), first.scores.tolist()) == ([1, 0], [0.5, 0.25])
    assert (second.label_ids.tolist(), second.scores.tolist()) == ([2, 1], [0.75, 0.25])
    assert [len(c) for c in classifications_from_outputs(classifier(), raw, top_k=3)] == [3, 3]
    assert [len(c) for c in classifications_from_outputs(classifier(), raw, top_k=9)] == [3, 3]
    assert [len(c) for c in classifications_from_outputs(classifier(), raw, score_threshold=0.25)] == [1, 1]


def test_softmax_where_the_graph_has_none() -> None:
    """Logits become probabilities, without overflow at large ones; finished probabilities are left as they are."""
    logits = (1000.0, 1000.0 + float(np.log(3)), 0.0)
    (found,) = classifications_from_outputs(classifier(activation="softmax"), probabilities(logits))
    np.testing.assert_allclose(found.scores, [0.75, 0.25], atol=1e-4)
    (found,) = classifications_from_outputs(classifier(), probabilities((0.5, 0.5, 0.0)))
    assert found.scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({}, "did not answer with output 'probs'"),
        (probabilities((0.5, 0.5)), r"'probs': expected float32 \[any, 3\].*\[1, 2\]"),
        ({"probs": np.zeros((1, 3))}, "'probs'.*float64"),
        (probabilities((0.5, np.nan, 0.5)), "'probs' holds NaN"),
    ],
)
def test_class_outputs_that_contradict_the_contract(broken: dict[str, NDArray[Any]], message: str) -> None:
    """The same for classifiers: one score a label, float32, finite."""
    with pytest.raises(BackendFailure, match=message):
        classifications_from_outputs(classifier(), broken)


def test_the_other_task() -> None:
    """A contract with another head is a contract error, not a guess."""
    with pytest.raises(ContractError, match="expected a contract with the head of a detector"):
        detections_from_outputs(classifier(), GOOD, [PHOTO])
    with pytest.raises(ContractError, match="expected a contract with a classifier head"):
        classifications_from_outputs(detector(), GOOD)
