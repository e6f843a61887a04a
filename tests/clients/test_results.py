"""Results in other tools' forms."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import supervision
from PIL import Image

from clients import GatewayClient
from clients.results import Box, Class, Detection, Result
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway
from vision.errors import InvalidArgument

DETECTED = Result(
    model="m",
    version="1",
    name="a.jpg",
    width=64,
    height=48,
    detections=(
        Detection(box=Box(x1=1.25, y1=2.5, x2=11.5, y2=42.75), label="cat", label_id=3, score=0.875),
        Detection(box=Box(x1=0, y1=0, x2=64, y2=48), label="dog", label_id=0, score=0.5),
    ),
    timings_ms={"total": 1.5},
)
NOTHING = DETECTED.model_copy(update={"detections": ()})
CLASSIFIED = DETECTED.model_copy(
    update={"detections": None, "classes": (Class(label="red", label_id=2, score=0.75),)},
)
PHOTO = np.zeros((48, 64, 3), np.uint8)


def test_supervision_has_all_of_it() -> None:
    """Boxes, scores, ids and labels, in the dtypes that its tools compute with."""
    found = DETECTED.to_supervision()
    assert found == supervision.Detections(
        xyxy=np.array([[1.25, 2.5, 11.5, 42.75], [0, 0, 64, 48]], np.float32),
        confidence=np.array([0.875, 0.5], np.float32),
        class_id=np.array([3, 0]),
        data={"class_name": np.array(["cat", "dog"])},
    )
    cats = found[found.data["class_name"] == "cat"]
    assert isinstance(cats, supervision.Detections)
    assert cats.xyxy.tolist() == [[1.25, 2.5, 11.5, 42.75]]


def test_supervisions_tools_take_it() -> None:
    """Its annotators draw it, and its filters and merging know it; nothing found is no special case."""
    drawn = supervision.BoxAnnotator().annotate(PHOTO.copy(), DETECTED.to_supervision())
    assert drawn.any()
    nothing = NOTHING.to_supervision()
    assert (len(nothing), nothing.xyxy.shape, nothing.is_empty()) == (0, (0, 4), True)
    assert not supervision.BoxAnnotator().annotate(PHOTO.copy(), nothing).any()
    assert len(supervision.Detections.merge([DETECTED.to_supervision(), nothing])) == 2
    assert len(DETECTED.to_supervision().with_nms()) == 2


def test_without_supervision_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nothing that a client needs."""
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="to_supervision needs supervision: pip install supervision"):
        DETECTED.to_supervision()


def test_coco_boxes_are_left_top_width_height() -> None:
    """With the dataset's own category ids, by label; without, the label's place."""
    found = DETECTED.to_coco(7, {"cat": 17, "dog": 18})
    assert found == [
        {"image_id": 7, "category_id": 17, "bbox": [1.25, 2.5, 10.25, 40.25], "score": 0.875},
        {"image_id": 7, "category_id": 18, "bbox": [0, 0, 64, 48], "score": 0.5},
    ]
    assert json.loads(json.dumps(found)) == found
    assert [item["category_id"] for item in DETECTED.to_coco(7)] == [3, 0]
    assert NOTHING.to_coco(7) == []
    with pytest.raises(InvalidArgument, match="no category id for 'dog', only for: cat"):
        DETECTED.to_coco(7, {"cat": 17})


def test_a_classifiers_answer_has_no_boxes() -> None:
    """It is refused, not empty."""
    for convert in (CLASSIFIED.to_supervision, lambda: CLASSIFIED.to_coco(1)):
        with pytest.raises(InvalidArgument, match=r"m classifies, and .* its answer is in `classes`"):
            convert()


def test_plain_values_are_those_of_json() -> None:
    """What does not apply is left out."""
    plain = DETECTED.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert "classes" not in plain
    assert Result.model_validate(plain) == DETECTED
    assert "name" not in CLASSIFIED.model_copy(update={"name": None}).to_dict()


@pytest.mark.parametrize("model", ["colour", "spot"])
def test_it_is_drawn_as_the_gateway_draws_it(gateway: RunningGateway, model: str) -> None:
    """Pixel for pixel, of a detector and of a classifier."""
    photo = encoded(160, 120, (0, 0, 255), ".png")
    with GatewayClient(gateway.url) as client:
        result = client.predict(photo, model)
        picture = client.annotated(photo, model, "image/png")
    theirs = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(result.draw(photo), theirs)


def test_every_form_of_a_photo_is_drawn_on() -> None:
    """The photo itself stays as it is."""
    ours = DETECTED.draw(PHOTO)
    assert ours.dtype == np.uint8
    assert ours.shape == (48, 64, 3)
    assert ours.any()
    assert not PHOTO.any()
    for photo in (Image.fromarray(PHOTO), PHOTO[..., 0], encoded(64, 48, (0, 0, 0), ".png")):
        np.testing.assert_array_equal(DETECTED.draw(photo), ours)
    assert not NOTHING.draw(PHOTO).any()


def test_another_photo_is_refused() -> None:
    """Boxes would be in the wrong places on a resized one."""
    with pytest.raises(InvalidArgument, match="of a photo of 64x48, and this one is 48x64"):
        DETECTED.draw(PHOTO.transpose(1, 0, 2))


def test_results_alone_bring_no_drawing_and_no_supervision() -> None:
    """They are imported by whoever converts."""
    code = "import sys, clients.results; print([m for m in ('cv2', 'PIL', 'supervision', 'httpx') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
