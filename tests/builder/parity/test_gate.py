"""What the gate asks for before it compares, and what only all images together can tell."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from builder.parity import check_parity, require
from builder.parity.suppression import suppression_of
from builder.recipes.parts import Tolerance
from builder.verify import Side
from tests.builder import networks
from tests.builder.parity.sides import (
    DETECTOR_HEAD,
    EXACT,
    HEIGHT,
    LETTERBOX,
    WIDTH,
    answers_of,
    balloon,
    classifier,
    contract_of,
    detector,
    large,
    parity_of,
)
from vision.decode import image_from_bytes
from vision.errors import BuildError
from vision.heads import Classification, Detections

PHOTO = "test-card-palette.png"
LABELS = ("balloon", "kite")


@pytest.mark.parametrize(
    ("missing", "told"),
    [(("iou",), "iou"), (("unmatched",), "unmatched"), (("iou", "unmatched"), "iou and unmatched")],
)
def test_a_detectors_tolerance_says_overlap_and_how_many_are_alone(missing: tuple[str, ...], told: str) -> None:
    """What a tolerance leaves out nobody would compare: the field is named."""
    tolerance = EXACT.model_copy(update=dict.fromkeys(missing))
    with pytest.raises(BuildError, match=rf"parity.tolerances.fp32 lacks {told}: this is a detector"):
        parity_of(*detector(), tolerance)
    if missing == ("iou", "unmatched"):
        require(parity_of(*classifier(), tolerance))


def test_a_classifiers_tolerance_says_how_many_classes() -> None:
    """The same of `top_k`."""
    tolerance = EXACT.model_copy(update={"top_k": None})
    with pytest.raises(BuildError, match=r"parity.tolerances.fp32 lacks top_k: this is a classifier"):
        parity_of(*classifier(), tolerance)
    require(parity_of(*detector(), tolerance))


def test_a_source_without_probabilities_is_a_failure() -> None:
    """A classifier's answer that says nothing is no agreement; a detector's neither."""
    source, published = classifier()
    silent = [replace(one, answer=replace(one.answer, probabilities=None)) for one in answers_of(source, PHOTO)]
    [line] = check_parity(published, silent, EXACT, precision="fp32").failures
    assert "without probabilities: this is a classifier" in line
    source, published = detector()
    silent = [replace(one, answer=replace(one.answer, scores=None)) for one in answers_of(source, PHOTO)]
    [line] = check_parity(published, silent, EXACT, precision="fp32").failures
    assert "without boxes, and this is a detector" in line


def test_a_near_tie_is_narrow_however_wide_the_score() -> None:
    """`tie` says how near; unsaid it is 0.02, or `score` where that is less."""
    wide = EXACT.model_copy(update={"score": 0.4})
    assert (wide.near_tie, EXACT.near_tie, wide.model_copy(update={"tie": 0.1}).near_tie) == (0.02, 1e-4, 0.1)


def test_agreement_is_for_the_first_class_of_int8() -> None:
    """Elsewhere it is refused."""
    values: dict[str, Any] = {"pixels": 0, "score": 0.3, "agreement": 0.75}
    with pytest.raises(ValueError, match="it needs top_k: 1"):
        Tolerance(**values, top_k=2)
    with pytest.raises(BuildError, match="only int8 may have images of another first class"):
        parity_of(*classifier(), Tolerance(**values, top_k=1))


@pytest.mark.parametrize(("agreement", "passes"), [(None, False), (0.95, False), (0.75, True)])
def test_a_share_of_images_may_have_another_first_class(
    monkeypatch: pytest.MonkeyPatch, agreement: float | None, passes: bool
) -> None:
    """Of int8, as many as `agreement` leaves; each that is another fails where there are more."""
    for place in ("comparison.unfit_scale", "gate.unfit_calibration"):  # nothing is quantised here
        monkeypatch.setattr(f"builder.parity.{place}", lambda side, batch: None)
    source, published = classifier()
    [one] = answers_of(source, PHOTO)
    usual = one.answer.probabilities
    assert usual is not None
    flipped = usual.copy()
    first, second = np.argsort(-usual)[:2]
    flipped[[first, second]] = flipped[[second, first]]
    given = [usual, usual, usual, flipped]
    references = [
        replace(one, name=f"{place}.png", answer=replace(one.answer, probabilities=probabilities))
        for place, probabilities in enumerate(given)
    ]
    tolerance = Tolerance(pixels=0, score=1, top_k=1, tie=0, agreement=agreement)
    report = check_parity(published, references, tolerance, precision="int8")
    assert (report.failures == []) is passes, report.failures
    if passes:
        assert "top-1 the same on 3 of 4" in report.summary()
    else:
        assert report.failures[0].startswith("3.png: classes: class 1 is ")


def faint(scores_like: float) -> tuple[Side, Side]:
    """A detector whose scores are all far below its threshold."""
    return contract_of(networks.detector(size_hw=(HEIGHT, WIDTH), gain=scores_like), LETTERBOX, DETECTOR_HEAD, LABELS)


INT8 = Tolerance(pixels=0, score=0.2, iou=0.6, unmatched=2)


def test_a_detector_sure_of_nothing_is_held_to_its_best_boxes() -> None:
    """At a threshold of the source's own scores, and the tolerance of scores scaled to them; the report says so."""
    source, published = faint(0.01)
    report = parity_of(source, published)
    assert report.failures == []
    assert "the best 20 of each were compared" in report.notes[0]
    assert all(image.boxes is not None and image.boxes.matched > 0 for image in report.images)
    halved = parity_of(source, faint(0.005)[1], INT8)
    assert "scores of paired boxes differ" in halved.failures[0]
    assert parity_of(source, faint(0.0)[1], INT8).failures != []


def test_a_detector_without_any_box_is_refused_unless_it_is_random() -> None:
    """Pixels alone are no comparison."""
    source, published = faint(0.0)
    report = parity_of(source, published)
    assert "boxes: neither side finds any box on any image: nothing was compared" in report.failures[0]
    report = check_parity(published, answers_of(source, PHOTO), EXACT, precision="fp32", is_random=True)
    assert report.failures == []
    assert "the weights are random: none were compared" in report.notes[0]


def test_boxes_over_the_edge_are_clipped_on_both_sides() -> None:
    """A framework lets boxes run over the photo's edge; what is served ends at the last pixel."""
    source, published = detector()
    [one] = answers_of(source, PHOTO)
    height, width = image_from_bytes(one.data, max_pixels=10**8).shape[:2]
    score, label = np.array([0.9], np.float32), np.array([0], np.int64)
    over = np.array([[-40, -40, 10_000, 10_000]], np.float32)
    edges = np.array([[0, 0, width - 1, height - 1]], np.float32)
    for theirs, ours in ((over, edges), (edges, over)):
        answer = replace(one.answer, boxes_xyxy=theirs, scores=score, label_ids=label)
        references = [replace(one, answer=answer)]
        ask = partial(_always, Detections(ours, score, label))
        report = check_parity(published, references, EXACT, precision="fp32", ask=ask)
        require(report)


def _always(found: Detections, data: bytes) -> Detections:
    return found


def test_photos_of_one_name_are_two() -> None:
    """A failure of the network is told of the photo that it was found on, and of no other with its name."""
    source, published = contract_of(
        large(onnx.TensorProto.FLOAT16), LETTERBOX, classifier()[0].contract.postprocess, tuple("abcd")
    )
    twice = answers_of(source, "balloons-landscape.jpg") * 2
    report = check_parity(published, twice, EXACT, precision="fp16")
    assert [len(image.failures) for image in report.images] == [1, 0]


def test_pictures_are_kept_of_what_the_page_shows() -> None:
    """Forty, the failed ones first: with the number of photos only the table grows."""
    source, published = classifier()
    [one] = answers_of(source, PHOTO)
    wrong = replace(one, answer=replace(one.answer, tensor=one.answer.tensor + np.float32(1)))
    given = [replace(wrong if place in (50, 59) else one, name=f"{place}.png") for place in range(60)]
    images = check_parity(published, iter(given), EXACT, precision="fp32").images
    assert sum(image.pictures is not None for image in images) == 40
    assert [place for place in range(38, 60) if images[place].pictures is not None] == [50, 59]


def test_a_server_that_tells_its_best_classes_only_is_held_to_those() -> None:
    """The others are no better than the last one told, and may not be better in the source."""
    source, published = classifier()
    [one] = answers_of(source, PHOTO)
    theirs = one.answer.probabilities
    assert theirs is not None
    best = np.argsort(-theirs, kind="stable")
    tolerance = EXACT.model_copy(update={"top_k": 1})

    def failures(ids: NDArray[np.int64]) -> list[str]:
        answer = Classification(theirs[ids], ids)
        return check_parity(published, [one], tolerance, precision="fp32", ask=lambda _: answer).failures

    assert failures(best[:2]) == []
    assert failures(best[1:2]) != []


def test_the_suppression_is_read_from_head_or_graph() -> None:
    """The threshold of the graph's NonMaxSuppression; None where there is none."""
    assert suppression_of(balloon()[1]) == pytest.approx(0.65)
    assert suppression_of(detector()[1]) is None
    assert suppression_of(classifier()[1]) is None
