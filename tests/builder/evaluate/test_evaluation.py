"""Figures, kept predictions, and the table that says what conversion cost."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from builder.evaluate.evaluation import evaluate
from builder.evaluate.metrics import COCO_NAMES, coco_figures, top_k_figures
from builder.evaluate.predictions import Kept, Prediction
from builder.evaluate.samples import Box, Dataset, Sample
from builder.evaluate.sides import Answers, SideName
from builder.progress import Log, Progress, Step
from tests.builder.parity.sides import classifier, detector
from tests.gateway.serving import eventually
from vision.errors import BuildError

PICTURES = sorted((Path(__file__).parents[3] / "recipes" / "photos").glob("*.jpg"))
SQUARES = [(10.0 * n, 0.0, 10.0 * n + 8, 8.0) for n in range(4)]


def boxed(*labels: str) -> Dataset:
    """One photo a label, each with one square."""
    samples = [
        Sample(f"{n}.jpg", PICTURES[n], (Box(label, square, 64.0),))
        for n, (label, square) in enumerate(zip(labels, SQUARES, strict=False))
    ]
    return Dataset("coco", "detection", tuple(samples), "f" * 64)


def found(dataset: Dataset, *scores: float, label_id: int = 0) -> dict[str, Prediction]:
    """Each photo's square, found with that score; 0 is not found."""
    return {
        sample.name: Prediction((score,), (label_id,), (sample.boxes[0].xyxy,)) if score else Prediction((), (), ())
        for sample, score in zip(dataset.samples, scores, strict=True)
    }


def test_all_found_is_one_and_nothing_found_is_zero() -> None:
    """The first annotation counts like any other: ids count from 1, since 0 is pycocotools' word for no match."""
    data = boxed("balloon", "balloon", "balloon")
    names = ["balloon"]
    assert coco_figures(data, names, found(data, 0.9, 0.8, 0.7))[COCO_NAMES[0]] == pytest.approx(1)
    assert coco_figures(data, names, found(data, 0, 0, 0))[COCO_NAMES[0]] == 0
    half = coco_figures(data, names, found(data, 0.9, 0, 0))
    assert half[COCO_NAMES[8]] == pytest.approx(1 / 3, abs=1e-3)
    assert half[COCO_NAMES[5]] is None, "there are no large ones"


def test_a_box_under_another_label_is_a_miss() -> None:
    """Classes are counted apart."""
    data = boxed("balloon", "kite")
    assert coco_figures(data, ["balloon", "kite"], found(data, 0.9, 0.9))[COCO_NAMES[1]] == pytest.approx(0.5)


def test_the_twelve_lines_are_pycocotools() -> None:
    """Names and order as the tutorials show them."""
    assert len(COCO_NAMES) == 12
    assert COCO_NAMES[1] == "Average Precision (AP) @[ IoU=0.50 | area= all | maxDets=100 ]"
    assert COCO_NAMES[6] == "Average Recall (AR) @[ IoU=0.50:0.95 | area= all | maxDets= 1 ]"


def test_top_one_and_top_five() -> None:
    """Top-5 only where there are more than five classes."""
    labels = list("abcdefgh")
    samples = tuple(Sample(f"{n}.jpg", Path(), label=label) for n, label in enumerate("abh"))
    data = Dataset("folders", "classification", samples, "f" * 64)
    predictions = {f"{n}.jpg": Prediction((0.5, 0.3, 0.1, 0.05, 0.05), (0, 1, 2, 3, 4)) for n in range(3)}
    assert top_k_figures(data, labels, predictions) == {"top-1": pytest.approx(1 / 3), "top-5": pytest.approx(2 / 3)}
    few = {name: Prediction((0.5, 0.3), (0, 1)) for name in predictions}
    assert top_k_figures(data, ["a", "b", "h"], few) == {"top-1": pytest.approx(1 / 3)}


class Recorded:
    """A side whose answers are known beforehand."""

    def __init__(self, name: SideName, answers: dict[str, Prediction], stop_after: int | None = None) -> None:
        self.name: SideName = name
        self.identity = "0" * 64
        self.told = f"{name} of the test"
        self.known = answers
        self.stop_after = stop_after
        self.asked: list[str] = []

    def answers(self, samples: Sequence[Sample], step: Step) -> Answers:
        for sample in samples:
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(sample.name)
            yield sample, self.known[sample.name]


def quiet() -> Progress:
    return Progress(lambda step, text: None)


def test_an_evaluation_that_was_interrupted_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A second run asks only about what the first did not, and a line that was cut off is asked about again."""
    data = boxed("balloon", "balloon", "kite")
    contract = detector()[0].contract
    answers = found(data, 0.9, 0.8, 0.7)
    with pytest.raises(KeyboardInterrupt):
        evaluate("m", contract, data, [Recorded("onnx", answers, stop_after=2)], tmp_path, "images", quiet())
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    again = Recorded("onnx", answers)
    evaluate("m", contract, data, [again], tmp_path, "images", quiet())
    assert again.asked == ["1.jpg", "2.jpg"]
    third = Recorded("onnx", answers)
    evaluate("m", contract, data, [third], tmp_path, "images", quiet())
    assert third.asked == []


def test_kept_predictions_are_those_that_were_given(tmp_path: Path) -> None:
    """To the last bit, boxes and times included."""
    prediction = Prediction((0.1 + 0.2,), (3,), ((1 / 3, 2.0, 3.0, 4.0),), 12.5)
    photos = {"ö.jpg": "0" * 64}
    kept = Kept(tmp_path / "kept.jsonl", photos)
    kept.add("ö.jpg", prediction)
    kept.close()
    again = Kept(tmp_path / "kept.jsonl", photos)
    assert again.found == {"ö.jpg": prediction}
    again.close()


def test_a_photo_that_changed_is_asked_about_again(tmp_path: Path) -> None:
    """Under the same name and with the same boxes: the answer was to another picture."""
    own = tmp_path / "own.jpg"
    own.write_bytes(PICTURES[0].read_bytes())
    data = replace(boxed("balloon"), samples=(Sample("0.jpg", own, (Box("balloon", SQUARES[0], 64.0),)),))
    contract, answers = detector()[0].contract, found(data, 0.9)
    for picture, expected in ((PICTURES[0], ["0.jpg"]), (PICTURES[0], []), (PICTURES[1], ["0.jpg"])):
        own.write_bytes(picture.read_bytes())
        side = Recorded("onnx", answers)
        evaluate("m", contract, data, [side], tmp_path / "kept", "images", quiet())
        assert side.asked == expected
    fresh = Recorded("onnx", answers)
    evaluate("m", contract, data, [fresh], tmp_path / "kept", "images", quiet(), fresh=True)
    assert fresh.asked == ["0.jpg"]


def test_two_evaluations_of_one_thing_take_turns(tmp_path: Path) -> None:
    """The second waits, says so, and finds what the first was told: no line is written into another's."""
    data, contract = boxed("balloon", "balloon"), detector()[0].contract
    answers = found(data, 0.9, 0.8)
    first = Kept(tmp_path / f"onnx-{'0' * 16}-{'f' * 16}.jsonl", photos_of(data))
    first.add("0.jpg", answers["0.jpg"])
    said: list[str] = []
    second = Recorded("onnx", answers)
    log = Log(tmp_path / "log")
    log.begin("two evaluations")
    progress = Progress(lambda step, text: said.append(text), log)
    thread = threading.Thread(
        target=evaluate, args=["m", contract, data, [second], tmp_path, "images", progress], daemon=True
    )
    thread.start()
    eventually(lambda: "waited for it" in log.path.read_text(), within_s=20)
    assert second.asked == []
    first.add("1.jpg", answers["1.jpg"])
    first.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert second.asked == []
    assert [text for text in said if "waited" in text], said


def photos_of(data: Dataset) -> dict[str, str]:
    return {sample.name: hashlib.sha256(sample.path.read_bytes()).hexdigest() for sample in data.samples}


def test_the_cost_is_what_is_lost_from_the_source(tmp_path: Path) -> None:
    """One column a side, and the difference; the JSON says who was asked and on what."""
    data = boxed("balloon", "balloon", "balloon")
    contract = detector()[0].contract
    sides = [Recorded("source", found(data, 0.9, 0.8, 0.7)), Recorded("server", found(data, 0.9, 0.8, 0))]
    result = evaluate("balloon", contract, data, sides, tmp_path, "images", quiet())
    recall = COCO_NAMES[8]
    assert result.cost("server")[recall] == pytest.approx(-1 / 3, abs=1e-3)
    document = json.loads(result.to_json())
    assert document["sides"]["source"]["figures"][recall] == 1
    assert document["sides"]["server"]["cost"][recall] == pytest.approx(-1 / 3, abs=1e-3)
    together = hashlib.sha256("".join(photos_of(data).values()).encode()).hexdigest()
    about = {"kind": "coco", "images": "images", "photos": 3, "boxes": 3, "sha256": "f" * 64}
    assert document["data"] == {**about, "photos_sha256": together}
    assert document["summary"].startswith("AP source 1.000, server 0.")


def test_classes_that_the_model_does_not_know_are_refused(tmp_path: Path) -> None:
    """Before anybody is asked."""
    data = boxed("dragon")
    with pytest.raises(BuildError, match="'dragon', and the model knows balloon, kite"):
        evaluate("m", detector()[0].contract, data, [Recorded("onnx", {})], tmp_path, "images", quiet())


def test_data_for_another_task_is_refused(tmp_path: Path) -> None:
    """Boxes for a classifier."""
    data = boxed("a", "b")
    with pytest.raises(BuildError, match="the data is for detection, and m does classification"):
        evaluate("m", classifier()[0].contract, data, [], tmp_path, "images", quiet())
