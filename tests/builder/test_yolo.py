"""A YOLO's ONNX, from the file to boxes on a photo, against plain code that shares nothing with the project's."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from builder.conversion import checked, folded, verified
from builder.probes import probes_from_photos
from builder.progress import Progress
from builder.source import Source, Wishes
from builder.sources.yolo import YoloSource, source_from_yolo
from builder.verify import Runner, Side
from tests.builder.conftest import Importer
from tests.builder.plain_yolo import plainly
from tests.builder.yolos import LABELS, METADATA, crowd_of, yolo
from tests.vision.encoded import noise
from vision.contract import (
    Normalise,
    PadCentred,
    PadToSize,
    ResizeToFit,
    ToRgb,
    YoloHead,
    contract_from_json,
)
from vision.errors import BuildError
from vision.heads import detections_from_outputs

GREY = (114.0, 114.0, 114.0)
LAYOUTS = ("v5", "v8", "v10", "yolox")


class Written:
    """Writes a network and reads it as a source."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "yolo.onnx"

    def __call__(self, model: onnx.ModelProto, wishes: Wishes | None = None, **settings: Any) -> Source:
        onnx.save(model, str(self.path))
        return source_from_yolo(YoloSource(onnx=self.path, **settings), wishes or Wishes())

    def refused(self, step: str, *parts: str, model: onnx.ModelProto, **settings: Any) -> None:
        with pytest.raises(BuildError) as caught:
            published(self(model, **settings))
        assert caught.value.step == step, caught.value
        for part in parts:
            assert part in caught.value.detail


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def published(source: Source) -> Side:
    """What the importer would publish, verified."""
    progress = Progress(lambda step, text: None)
    candidate = folded(checked(source, None, progress), True, progress)
    verified(candidate, candidate, probes_from_photos([]), progress)
    return candidate.side


@pytest.mark.parametrize("photo_hw", [(70, 150), (151, 83), (64, 96)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_from_photo_to_boxes(written: Written, layout: str, photo_hw: tuple[int, int]) -> None:
    """What is published, folded, gives the boxes, scores and labels that plain code gets from the file as it came."""
    source = written(yolo(layout), Wishes(score_threshold=0.4), layout=layout, labels=LABELS)
    side = published(source)
    photo = noise(*photo_hw) // np.array([4, 1, 2], np.uint8)  # so that colours swapped give other scores
    found = detections_from_outputs(side.contract, *Runner(side)([photo]))[0]
    expected = plainly(source, layout, photo)
    assert len(found) == len(expected) > 3
    for box, score, label, (its_box, its_score, its_label) in zip(
        found.boxes_xyxy, found.scores, found.label_ids, expected, strict=True
    ):
        np.testing.assert_allclose(box, its_box, atol=1e-3)
        assert score == pytest.approx(its_score, abs=1e-5)
        assert label == its_label
    assert side.contract.input.dtype == "UINT8"


# --- what a file says of itself ----------------------------------------------------------------------------------


def test_an_export_of_ultralytics_needs_no_recipe(importer: Importer, tmp_path: Path) -> None:
    """Labels and size are read from its metadata, layout from its shape; what was taken for granted is told."""
    path = tmp_path / "yolo11n.onnx"
    onnx.save(yolo("v8", metadata=METADATA, size_hw=("height", "width"), is_open=True), str(path))
    result = importer(path)
    contract = contract_from_json((result.folder / "1" / "contract.json").read_bytes())
    assert contract.labels == LABELS
    assert contract.provenance.tools["ultralytics"] == "8.4.190"
    assert contract.preprocess == (
        ResizeToFit(size_hw=(64, 96), rounding="half_even", interpolation="bilinear", library="opencv"),
        PadCentred(size_hw=(64, 96), value=GREY),
    )
    assert contract.in_graph == (ToRgb(), Normalise(mean=(0, 0, 0), std=(255, 255, 255)))
    head = contract.postprocess
    assert isinstance(head, YoloHead)
    assert (head.layout, head.score_threshold, head.iou_threshold, head.max_detections) == ("v8", 0.25, 0.7, 300)
    notes = "\n".join(line for line in importer.said if "note:" in line)
    for part in ("layout v8, read from 'output0'", "score_threshold 0.25", "iou_threshold 0.7", "AGPL-3.0"):
        assert part in notes


def test_another_onnx_needs_one(importer: Importer, tmp_path: Path) -> None:
    """Without metadata nothing is guessed: the import asks for a recipe."""
    path = tmp_path / "net.onnx"
    onnx.save(yolo("v8"), str(path))
    importer.refused(path, "read", "give --recipe")


def test_wishes_come_first(importer: Importer, tmp_path: Path) -> None:
    """Threshold, number of boxes and labels can be given on the command line."""
    path, labels = tmp_path / "yolo.onnx", tmp_path / "labels.txt"
    onnx.save(yolo("v8", metadata=METADATA), str(path))
    labels.write_text("Auto\nHund\nBus\n")
    result = importer(path, labels=labels, score_threshold=0.1, max_detections=7)
    contract = contract_from_json((result.folder / "1" / "contract.json").read_bytes())
    assert contract.labels == ("Auto", "Hund", "Bus")
    head = contract.postprocess
    assert isinstance(head, YoloHead)
    assert (head.score_threshold, head.max_detections) == (0.1, 7)


@pytest.mark.parametrize("layout", ["v5", "v8"])
def test_a_fixed_batch_of_one(written: Written, layout: str) -> None:
    """An export without dynamic axes is served one photo at a time."""
    side = published(written(yolo(layout, batch=1), labels=LABELS, layout=layout))
    assert side.contract.max_batch == 1
    assert len(detections_from_outputs(side.contract, *Runner(side)([noise(50, 60)]), score_threshold=0)[0]) > 0


def test_yolox_as_it_exports(written: Written) -> None:
    """In the corner of the grey, BGR, 0 to 255; the head adds the grids, and the notes say so."""
    source = written(yolo("yolox"), labels=LABELS, layout="yolox")
    assert source.preprocess == (
        ResizeToFit(size_hw=(64, 96), rounding="floor", interpolation="bilinear", library="opencv"),
        PadToSize(size_hw=(64, 96), value=GREY),
        Normalise(mean=(0, 0, 0), std=(1, 1, 1)),
    )
    assert isinstance(source.postprocess, YoloHead)
    assert source.postprocess.strides == (8, 16, 32)
    assert any("adds the grids" in note for note in source.notes)


def layouts(source: Source) -> str:
    assert isinstance(source.postprocess, YoloHead)
    return source.postprocess.layout


@pytest.mark.parametrize(
    ("model", "labels", "layout"),
    [
        (yolo("v8"), LABELS, "v8"),
        (yolo("v5", rows=3 * 126), LABELS, "v5"),
        (yolo("v10", rows=300), LABELS, "v10"),
        (yolo("v8", classes=1), ("car",), "v8"),
        (yolo("v5", classes=1, rows=3 * 126), ("car",), "v5"),
        (yolo("v10", classes=1, rows=300), ("car",), "v10"),
        (yolo("v8", extra_output=True), LABELS, "v8"),
        (yolo("v8", is_open=True), LABELS, "v8"),
        (yolo("v5", rows=3 * 126, is_open=True), LABELS, "v5"),
        (yolo("v5", metadata=METADATA), None, "v5"),  # not YOLOX's: the metadata are Ultralytics'
        (
            yolo("v10", rows=126, classes=1, metadata={**METADATA, "names": "['car']", "end2end": "True"}),
            None,
            "v10",
        ),
        (
            yolo("v10", rows=126, classes=1, metadata={**METADATA, "names": "['car']", "args": "{'nms': True}"}),
            None,
            "v10",
        ),
    ],
)
def test_the_layout_is_told_by_the_shape(
    written: Written, model: onnx.ModelProto, labels: Sequence[str] | None, layout: str
) -> None:
    """Where one layout alone has the output's shape it is taken; metadata decide where two have."""
    assert layouts(written(model, labels=None if labels is None else tuple(labels))) == layout


@pytest.mark.parametrize("classes", [1, 3])
def test_two_layouts_of_one_shape(written: Written, classes: int) -> None:
    """A row a cell with objectness is YOLOv6's and YOLOX's: the error names both, and the setting decides."""
    labels = LABELS[:classes]
    written.refused("contract", "v5 or yolox", "layout: NAME", model=yolo("v5", classes=classes), labels=labels)
    assert layouts(written(yolo("v5", classes=classes), labels=labels, layout="v5")) == "v5"


def test_labels_of_another_network(written: Written) -> None:
    """Two labels for three classes: the error tells the shapes that two labels would have."""
    parts = ("'output0' [7, 126]", "with 2 labels, expected [6, n] (layout v8), [n, 7] (v5, yolox)")
    written.refused("contract", *parts, model=yolo("v8"), labels=("car", "dog"))
    written.refused("check", "expected [6, 'any']: layout v8", model=yolo("v8"), labels=("car", "dog"), layout="v8")


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"task": "segment"}, "task 'segment'"),
        ({"names": "{1: 'car', 2: 'dog', 3: 'bus'}"}, "expected ids from 0 on"),
        ({"names": "{0: 'car', 1: 2}"}, "expected ids from 0 on"),
        ({"names": "{}"}, "expected ids from 0 on"),
        ({"names": "__import__('os').getcwd()"}, "no Python literal"),
        ({"imgsz": "[0, 96]"}, "expected height and width"),
    ],
)
def test_metadata_that_cannot_be_used(written: Written, changed: dict[str, str], part: str) -> None:
    """Another task, classes that are not numbered from 0, and what is no literal are refused, never evaluated."""
    model = yolo("v8", metadata={**METADATA, **changed}, size_hw=("h", "w"))
    written.refused("contract", part, model=model)


def test_what_is_left_open(written: Written) -> None:
    """Labels and size must come from somewhere, and must not contradict the graph."""
    written.refused("contract", "holds no class names", model=yolo("v8"))
    written.refused("contract", "give size_hw", model=yolo("v8", size_hw=("h", "w")), labels=LABELS)
    written.refused("contract", "the graph takes (64, 96)", model=yolo("v8"), labels=LABELS, size_hw=(64, 64))
    assert written(yolo("v8", size_hw=("h", "w")), labels=LABELS, size_hw=(64, 96)).preprocess[0] == ResizeToFit(
        size_hw=(64, 96), rounding="half_even", interpolation="bilinear", library="opencv"
    )


def test_an_export_in_half_precision(written: Written) -> None:
    """Ultralytics' half=True makes inputs FP16, which no contract has: refused with the way to FP16."""
    model = yolo("v8", metadata=METADATA)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["images"], ["wide"], to=onnx.TensorProto.FLOAT))
    model.graph.node[1].input[0] = "wide"
    written.refused("check", "'images' is FP16", "without half", model=model)


def test_settings_that_would_change_nothing(written: Written) -> None:
    """Strides are YOLOX's; what is suppressed already has no overlap to set."""
    written.refused("contract", "strides are YOLOX's", model=yolo("v8"), labels=LABELS, strides=(8,))
    written.refused("contract", "iou_threshold", model=yolo("v10", rows=300), labels=LABELS, iou_threshold=0.5)
    written.refused("check", "expected 'other'", model=yolo("v8"), labels=LABELS, predictions="other")


# --- what shapes do not show -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["v5", "v8"])
def test_logits(written: Written, layout: str) -> None:
    """A network without its last activation is refused when it is verified, not served with scores of 7."""
    written.refused(
        "verify", "expected probabilities", model=yolo(layout, activation="Identity"), labels=LABELS, layout=layout
    )


def test_fractions(written: Written) -> None:
    """Boxes from 0 to 1 would all land in the photo's first pixel."""
    boxes = crowd_of("v8", 126) / np.float32(96)
    written.refused("verify", "within 2 pixels", model=yolo("v8", boxes=boxes), labels=LABELS)


@pytest.mark.parametrize("shift", [-500, 500])
def test_boxes_that_lie_elsewhere(written: Written, shift: float) -> None:
    """Most boxes outside of the input are no boxes in network pixels."""
    boxes = crowd_of("v8", 126) + np.float32(shift) * np.array([1, 1, 0, 0], np.float32)
    written.refused("verify", "most boxes lie outside", model=yolo("v8", boxes=boxes), labels=LABELS)


def test_grids_added_twice_or_not_at_all(written: Written) -> None:
    """YOLOX with its grids in the graph, taken for one without, and the other way round."""
    model = yolo("v5")
    written.refused("verify", "strides: []", model=model, labels=LABELS, layout="yolox")
    assert published(written(model, labels=LABELS, layout="yolox", strides=())).contract.max_batch == 8
    bare = yolo("yolox", boxes=crowd_of("yolox", 126) * np.float32(0.5))
    written.refused("verify", "grids may still have to be added", model=bare, labels=LABELS, layout="yolox", strides=())


def test_grids_of_other_strides(written: Written) -> None:
    """As many rows as cells: other strides are told by their number."""
    model = yolo("yolox")
    written.refused("verify", "expected 30 rows", model=model, labels=LABELS, layout="yolox", strides=(16, 32))


def test_a_recipe_can_name_one(written: Written) -> None:
    """The kind `yolo` is one of a recipe's sources."""
    from pydantic import TypeAdapter

    from builder.sources import Settings

    onnx.save(yolo("v8", metadata=METADATA), str(written.path))
    settings = TypeAdapter(Settings).validate_json(
        f'{{"kind": "yolo", "onnx": "{written.path}", "iou_threshold": 0.5}}'
    )
    assert isinstance(settings, YoloSource)
    source = source_from_yolo(settings, Wishes())
    assert replace(source, onnx=b"").labels == LABELS


def test_labels_in_another_order_than_the_files_own_are_refused(written: Written, tmp_path: Path) -> None:
    """They would call a dog a car; from a list or from a file, and the first that differs is named both ways."""
    model = yolo("v5", metadata=METADATA)
    parts = ("another order", "id 0 is 'dog' there, and 'car' in the ONNX itself")
    written.refused("contract", *parts, model=model, labels=("dog", "car", "bus"))
    (tmp_path / "labels.txt").write_text("dog\ncar\nbus\n")
    written.refused("contract", *parts, model=model, labels=tmp_path / "labels.txt")


def test_other_labels_than_the_files_own_are_noted(written: Written) -> None:
    """Another language, say: those given are taken, with a note; the same ones go without."""
    model = yolo("v5", metadata=METADATA)
    source = written(model, labels=("Auto", "Hund", "Bus"))
    assert source.labels == ("Auto", "Hund", "Bus")
    assert "id 0 is 'Auto' there, and 'car' in the ONNX itself" in source.notes[0]
    assert not any("ONNX's own" in note for note in written(model, labels=LABELS).notes)
