"""Boxes are paired one to one, by overlap and label."""

import numpy as np
import pytest

from builder.parity.boxes import above, compared, failures_of, iou, on_photo
from builder.recipes.parts import Tolerance
from vision.heads import Detections

TOLERANCE = Tolerance(pixels=0, score=0.01, iou=0.95, unmatched=0)
Row = tuple[float, float, float, float, float, int]


def boxes(*rows: Row) -> Detections:
    """x1 y1 x2 y2 score label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_overlap_is_intersection_over_union() -> None:
    """Half of either is a third of both; identical boxes overlap fully, without any area as well."""
    first = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
    second = np.array([[0, 5, 10, 15], [5, 5, 5, 5], [20, 20, 30, 30]], np.float32)
    expected = np.array([[1 / 3, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(iou(first, second), expected)


def test_the_order_of_boxes_does_not_matter() -> None:
    """Equal sets in another order agree wholly."""
    rows: list[Row] = [(0, 0, 10, 10, 0.9, 0), (2, 0, 12, 10, 0.8, 0), (0, 0, 10, 10, 0.7, 1)]
    found = compared(boxes(*rows), boxes(*rows[::-1]), 0.3, TOLERANCE)
    assert (found.matched, found.unmatched, found.least_iou, found.largest_score) == (3, 0, 1.0, 0.0)


def test_a_box_without_a_partner_counts_on_its_side() -> None:
    """Missing, added, and under another label."""
    one = boxes((0, 0, 10, 10, 0.9, 0))
    assert compared(one, boxes(), 0.3, TOLERANCE).unmatched_source == 1
    assert compared(boxes(), one, 0.3, TOLERANCE).unmatched_published == 1
    other = compared(one, boxes((0, 0, 10, 10, 0.9, 1)), 0.3, TOLERANCE)
    assert (other.unmatched_source, other.unmatched_published) == (1, 1)
    assert other.other_label == "a box of label 0 in the source has label 1 in the published model"


def test_one_box_is_the_partner_of_one() -> None:
    """Two boxes in the source upon one in the published model: the better overlap has it, the other is alone."""
    two = boxes((0, 0, 10, 10, 0.9, 0), (0, 1, 10, 11, 0.8, 0))
    found = compared(two, boxes((0, 0, 10, 10, 0.9, 0)), 0.3, TOLERANCE)
    assert (found.matched, found.unmatched_source, found.least_iou) == (1, 1, 1.0)


def test_faint_boxes_may_come_and_go() -> None:
    """Only boxes above the threshold by more than the tolerance need a partner, which may itself be below it."""
    near = boxes((0, 0, 10, 10, 0.305, 0))
    assert compared(near, boxes(), 0.3, TOLERANCE).unmatched == 0
    clear, faint = boxes((0, 0, 10, 10, 0.32, 0)), boxes((0, 0, 10, 10, 0.29, 0))
    found = compared(clear, faint, 0.3, TOLERANCE)
    assert (found.matched, found.unmatched) == (1, 0)
    assert found.largest_score == pytest.approx(0.03)


def test_a_pair_that_is_off_says_by_how_much_however_many_may_be_alone() -> None:
    """A moved box and a halved score are differences, and `unmatched` forgives neither."""
    lenient = TOLERANCE.model_copy(update={"unmatched": 2})
    source = boxes((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0))
    moved = compared(source, boxes((0, 2, 10, 12, 0.9, 0), (50, 50, 60, 60, 0.8, 0)), 0.3, lenient, 0.5)
    assert (moved.matched, moved.unmatched) == (2, 0)
    assert moved.least_iou == pytest.approx(2 / 3)
    halved = compared(source, boxes((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.4, 0)), 0.3, lenient, 0.5)
    assert halved.largest_score == pytest.approx(0.4)
    assert [len(failures_of(found, lenient)) for found in (moved, halved)] == [1, 1]


def test_a_twin_that_was_suppressed_may_be_missing() -> None:
    """One that a better box of its label on the other side would have suppressed: as many as `unmatched` says."""
    two = boxes((0, 0, 10, 10, 0.9, 0), (0, 2, 10, 12, 0.8, 0))  # they overlap by two thirds
    found = compared(two, boxes((0, 0, 10, 10, 0.9, 0)), 0.3, TOLERANCE, 0.65)
    assert (found.unmatched, found.twins, found.lost) == (1, 1, 0)
    assert failures_of(found, TOLERANCE)[0][0].endswith("1 of them suppressed by a twin, tolerance 0 twins")
    assert failures_of(found, TOLERANCE.model_copy(update={"unmatched": 1})) == []
    other_way = compared(boxes((0, 0, 10, 10, 0.9, 0)), two, 0.3, TOLERANCE, 0.65)
    assert (other_way.twins, other_way.lost) == (1, 0)


@pytest.mark.parametrize(
    ("kept", "suppression"),
    [
        ((0, 2, 10, 12, 0.7, 0), 0.65),  # it scores less: it would have been the one to go
        ((0, 2, 10, 12, 0.95, 1), 0.65),  # another label suppresses nothing
        ((0, 5, 10, 15, 0.95, 0), 0.65),  # too far away
        ((0, 2, 10, 12, 0.95, 0), None),  # nothing is known of a suppression
    ],
)
def test_nothing_else_explains_a_missing_box(kept: Row, suppression: float | None) -> None:
    """A twin is better, of the same label, and overlaps by what the suppression takes."""
    source = boxes((0, 0, 10, 10, 0.9, 0), kept)
    published = boxes(kept)
    found = compared(source, published, 0.3, TOLERANCE, suppression)
    assert (found.unmatched_source, found.twins, found.lost) == (1, 0, 1)
    assert failures_of(found, TOLERANCE.model_copy(update={"unmatched": 5})) != []


def test_equal_labels_are_not_told_as_others() -> None:
    """A box whose twin is of its own label has lost its partner, and no label."""
    two = boxes((0, 0, 100, 100, 0.9, 0), (0, 0, 100, 98, 0.8, 0))
    found = compared(two, boxes((0, 0, 100, 100, 0.9, 0)), 0.3, TOLERANCE)
    assert (found.unmatched_source, found.other_label) == (1, None)


def test_both_sides_are_clipped_as_serving_clips() -> None:
    """To the photo, whose last pixel's index is width - 1; what lies outside is no box; what came is left as it was."""
    wide = boxes((-5, -5, 70, 70, 0.9, 0), (80, 0, 90, 10, 0.8, 0))
    seen = on_photo(wide, (60, 65), 1)
    assert seen.boxes_xyxy.tolist() == [[0, 0, 64, 59]]
    assert wide.boxes_xyxy[0].tolist() == [-5, -5, 70, 70]


def test_the_best_above_a_floor() -> None:
    """In the order of their scores, so many at most."""
    found = above(boxes((0, 0, 1, 1, 0.2, 0), (0, 0, 2, 2, 0.9, 1), (0, 0, 3, 3, 0.5, 2)), 0.2, 1)
    assert found.label_ids.tolist() == [1]
