"""Pictures with boxes and captions: legible, inside the picture, at any size and with any label."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.vision.encoded import noise
from vision.drawing import PALETTE_BGR, annotated, captioned
from vision.heads import Classification, Detections
from vision.pen import Box, Pen

LABELS = ("balloon", "шар", "气球", "a label much too long for any picture that one would send " * 3)


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def grey(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), 128, np.uint8)


def test_the_photo_is_left_alone() -> None:
    """Drawing returns a new picture of the same size and dtype."""
    photo = noise(120, 160)
    before = photo.copy()
    picture = annotated(photo, detections((10, 40, 90, 100, 0.9, 0)), LABELS)
    assert np.array_equal(photo, before)
    assert picture.shape == photo.shape
    assert picture.dtype == np.uint8
    assert not np.array_equal(picture, photo)


def test_box_in_the_colour_of_its_label() -> None:
    """The outline runs along the box's own pixels, and the inside stays the photo's."""
    picture = annotated(grey(480, 640), detections((100, 200, 400, 300, 0.9, 1)), LABELS)
    for x, y in ((100, 250), (400, 250), (250, 300)):
        assert tuple(picture[y, x]) == PALETTE_BGR[1]
    assert (picture[230:270, 130:370] == 128).all()


def test_colours_start_over() -> None:
    """More labels than colours is no error."""
    picture = annotated(grey(480, 640), detections((100, 200, 400, 300, 0.9, len(PALETTE_BGR))), [*LABELS] * 9)
    assert tuple(picture[250, 100]) == PALETTE_BGR[0]


@pytest.mark.parametrize("size_hw", [(48, 64), (1, 1), (3, 900), (900, 3), (480, 640), (4000, 6000)], ids=str)
@pytest.mark.parametrize("label_id", range(len(LABELS)))
def test_any_size_and_any_label(size_hw: tuple[int, int], label_id: int) -> None:
    """Boxes at every border, at every size, with labels in any script or length, raise nothing."""
    height, width = size_hw
    right, bottom = width - 1, height - 1
    rows = [(0, 0, right, bottom), (0, bottom, right, bottom), (right, 0, right, bottom), (0, 0, 0, 0)]
    found = detections(*((*row, 0.9, label_id) for row in rows))
    assert annotated(grey(height, width), found, LABELS).shape == (height, width, 3)
    assert captioned(grey(height, width), Classification(found.scores, found.label_ids), LABELS).shape[:2] == size_hw


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (600, 0, 639, 30), (0, 450, 30, 479), (600, 450, 639, 479)], ids=str)
def test_captions_stay_inside(box: tuple[int, int, int, int]) -> None:
    """In every corner the caption's whole ground is in the picture."""
    pen = Pen(grey(480, 640))
    place = pen.free_place(box, pen.caption_wh("balloon 0.93"), [])
    assert place is not None
    assert place[0] >= 0
    assert place[1] >= 0
    assert place[2] <= 640
    assert place[3] <= 480


def test_captions_do_not_cover_each_other() -> None:
    """Twenty detections on one spot get as many captions as there are places, never one over another."""
    pen = Pen(grey(480, 640))
    size = pen.caption_wh("balloon 0.93")
    taken: list[Box] = []
    for _ in range(20):
        if place := pen.free_place((200, 200, 300, 300), size, taken):
            taken.append(place)
    assert len(taken) == 4
    for number, one in enumerate(taken):
        for other in taken[:number]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_long_labels_are_shortened_and_keep_their_score() -> None:
    """What does not fit the width loses letters of its label, never the score."""
    text = Pen(grey(480, 320)).fitting(LABELS[3], "0.93")
    assert text.startswith("a label")
    assert text.endswith("… 0.93")


@pytest.mark.parametrize("text", ["balloon", "Größe", "шар", "μπαλόνι", "气球", "風船", "풍선", "بالون"])
def test_scripts_that_are_drawn(text: str) -> None:
    """Latin, Cyrillic, Greek, Chinese, Japanese, Korean and Arabic labels show letters, not question marks."""
    drawn, marks = grey(64, 640), grey(64, 640)
    Pen(drawn).caption((0, 0, 600, 40), text, (255, 255, 255))
    Pen(marks).caption((0, 0, 600, 40), "?" * len(text), (255, 255, 255))
    assert (drawn[:40] < 100).any()
    assert not np.array_equal(drawn, marks)


@pytest.mark.parametrize("colour", PALETTE_BGR, ids=str)
def test_text_stands_out_from_its_ground(colour: tuple[int, int, int]) -> None:
    """Black or white is taken so that every colour of the palette has a contrast of 4.5 to 1 or better (WCAG AA)."""
    picture = grey(200, 400)
    Pen(picture).caption((0, 0, 300, 60), "balloon", colour)
    ink = 0.0 if (picture[:60, :300] == 0).all(axis=2).any() else 1.0
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[::-1]]
    ground = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    light, dark = max(ground, ink), min(ground, ink)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_classes_one_under_another() -> None:
    """Classes stand in the upper left corner, each on its colour, best on top."""
    picture = captioned(grey(480, 640), Classification(np.array([0.8, 0.1], np.float32), np.array([2, 0])), LABELS)
    height = Pen(picture).caption_wh("x")[1]
    assert tuple(picture[0, 0]) == PALETTE_BGR[2]
    assert tuple(picture[height, 0]) == PALETTE_BGR[0]
    assert (picture[2 * height :] == 128).all()


def test_in_many_threads() -> None:
    """Eight threads drawing at once, at different text sizes and in different scripts, draw what one draws."""
    jobs = [(grey(300 + 40 * n, 400), detections((20, 90, 200, 280, 0.9, n % 3))) for n in range(24)]
    alone = [annotated(photo, found, LABELS) for photo, found in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: annotated(job[0], job[1], LABELS), jobs * 4))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 4, together, strict=True))
