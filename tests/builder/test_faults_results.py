"""Answers that are wrong behind sound pixels: each stopped at the tolerances of every precision that recipes ship."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.parity import ParityReport, Reference, check_parity, require
from builder.parity.boxes import above
from builder.recipes.parts import Precision, Tolerance
from builder.recipes.recipe import recipe_from_folder
from builder.verify import Side
from tests.builder.parity.sides import answers_of, balloon, classifier
from vision.errors import BuildError
from vision.heads import Classification, Detections

RECIPES = Path(__file__).parents[2] / "recipes"
PHOTO = "balloons-landscape.jpg"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def shipped(recipe: str, precision: Precision) -> Tolerance:
    return recipe_from_folder(RECIPES / recipe).parity.tolerances[precision]


BALLOON = {precision: shipped("balloon-rtmdet", precision) for precision in PRECISIONS}
LENIENT = {
    precision: tolerance.model_copy(update={"unmatched": max(2, tolerance.unmatched or 0)})
    for precision, tolerance in BALLOON.items()
}
"""The same, and two boxes of an image may be alone."""
FRUIT = {precision: shipped("fruit-mobilenetv2", precision) for precision in PRECISIONS}


class Answered(NamedTuple):
    """The balloon detector, and a photo with its source's answer."""

    published: Side
    reference: Reference


@pytest.fixture(scope="module")
def answered() -> Answered:
    source, published = balloon()
    [one] = answers_of(source, PHOTO)
    return Answered(published, one)


Change = Callable[[Detections], Detections]


def all_lost(found: Detections) -> Detections:
    return Detections(found.boxes_xyxy[:0], found.scores[:0], found.label_ids[:0])


def one_lost(found: Detections) -> Detections:
    return Detections(found.boxes_xyxy[1:], found.scores[1:], found.label_ids[1:])


def all_halved(found: Detections) -> Detections:
    return replace(found, scores=found.scores / np.float32(2))


def one_halved(found: Detections) -> Detections:
    return replace(found, scores=np.concatenate([found.scores[:1] / np.float32(2), found.scores[1:]]))


def one_moved(found: Detections) -> Detections:
    boxes = found.boxes_xyxy.copy()
    boxes[0, [0, 2]] += (boxes[0, 2] - boxes[0, 0]) * np.float32(0.3)
    return replace(found, boxes_xyxy=boxes)


FAULTS: dict[str, tuple[Change, str]] = {
    "all boxes lost": (all_lost, "have no partner"),
    "one box lost": (one_lost, "have no partner"),
    "every score halved": (all_halved, "scores of paired boxes differ"),
    "one score halved": (one_halved, "scores of paired boxes differ"),
    "one box moved": (one_moved, "paired boxes overlap by"),
}


def held(answered: Answered, change: Change, tolerance: Tolerance) -> ParityReport:
    """The published network, whose answer is the source's with a fault in it."""
    answer = answered.reference.answer
    assert answer.boxes_xyxy is not None
    assert answer.scores is not None
    assert answer.label_ids is not None
    found = Detections(answer.boxes_xyxy, answer.scores, answer.label_ids)
    answers = change(above(found, 0, 300))
    return check_parity(answered.published, [answered.reference], tolerance, precision="fp32", ask=lambda _: answers)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tolerances", [BALLOON, LENIENT], ids=["shipped", "two alone"])
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_boxes_are_stopped(
    answered: Answered, fault: str, tolerances: dict[Precision, Tolerance], precision: Precision
) -> None:
    """However lenient a shipped precision is, and however many boxes may be alone."""
    change, told = FAULTS[fault]
    report = held(answered, change, tolerances[precision])
    with pytest.raises(BuildError, match=told):
        require(report)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_boxes_that_are_the_same_pass(answered: Answered, precision: Precision) -> None:
    """What the faults are made of passes where nothing was changed."""
    require(held(answered, lambda found: found, BALLOON[precision]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_label_is_stopped(answered: Answered, precision: Precision) -> None:
    """The same boxes under another name."""
    report = held(answered, lambda found: replace(found, label_ids=found.label_ids + 1), LENIENT[precision])
    with pytest.raises(BuildError, match="a box of label 0 in the source has label 1"):
        require(report)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_first_class_that_is_another_is_stopped(precision: Precision) -> None:
    """0.68 and 0.30 that change places, within int8's 0.4 as they are."""
    source, published = classifier()
    answers = [
        replace(one, answer=replace(one.answer, outputs={}, probabilities=np.array(theirs, np.float32)))
        for one, theirs in zip(answers_of(source, PHOTO), [(0.01, 0.3, 0.01, 0.68)], strict=True)
    ]
    tolerance = FRUIT[precision].model_copy(
        update={"score": max(0.4, FRUIT[precision].score), "outputs": None, "agreement": None}
    )
    flipped = _asked(np.array((0.01, 0.68, 0.01, 0.3), np.float32))
    report = check_parity(published, answers, tolerance, precision="fp32", ask=lambda _: flipped)
    with pytest.raises(BuildError, match=r"class 1 is 3 in the source .* and 1 in the published model"):
        require(report)


def _asked(probabilities: NDArray[np.float32]) -> Classification:
    order = np.argsort(-probabilities, kind="stable")
    return Classification(probabilities[order], order.astype(np.int64))
