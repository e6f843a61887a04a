"""Annotations of every format become the same: photos, boxes, classes."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter

from builder.evaluate.data import check_labels, dataset_from_settings
from builder.evaluate.samples import Box, Dataset
from builder.evaluate.settings import Evaluation
from vision.errors import BuildError

VOC = """<annotation><size><width>0</width><height>0</height></size>{}</annotation>"""
OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def photo(path: Path, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def read(root: Path, **settings: Any) -> Dataset:
    adapter: TypeAdapter[Evaluation] = TypeAdapter(Evaluation)
    return dataset_from_settings(adapter.validate_json(json.dumps(settings), context=root), root)


def refused(root: Path, *parts: str, **settings: Any) -> None:
    with pytest.raises(BuildError) as caught:
        read(root, **settings)
    for part in parts:
        assert part in caught.value.detail


def coco(root: Path, **changed: Any) -> None:
    photo(root / "images/a.jpg")
    photo(root / "images/b.jpg")
    document = {
        "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 0, "file_name": "a.jpg"}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 3, "bbox": [1, 2, 10, 20], "area": 150.5, "iscrowd": 0},
            {"id": 1, "image_id": 0, "category_id": 3, "bbox": [5, 5, 4, 4], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "balloon"}],
    }
    (root / "coco.json").write_text(json.dumps(document | changed))


def test_coco_keeps_its_order_its_areas_and_its_crowds(tmp_path: Path) -> None:
    """Corners from x, y, width, height; the area of the outline where it is given, of the box otherwise."""
    coco(tmp_path)
    data = read(tmp_path, kind="coco", images="images", annotations="coco.json")
    assert [sample.name for sample in data.samples] == ["b.jpg", "a.jpg"]
    assert data.samples[1].boxes == (
        Box("balloon", (1, 2, 11, 22), 150.5),
        Box("balloon", (5, 5, 9, 9), 16, ignored=True),
    )
    assert data.task == "detection"


def test_voc_with_sizes_of_zero_is_read(tmp_path: Path) -> None:
    """The XML's own width and height are never looked at; difficult objects count neither way."""
    photo(tmp_path / "images/a.png")
    (tmp_path / "xml").mkdir()
    objects = OBJECT.format("plate", 0, 5, 6, 30, 20) + OBJECT.format("plate", 1, 1, 1, 60, 40)
    (tmp_path / "xml/a.xml").write_text(VOC.format(objects))
    data = read(tmp_path, kind="voc", images="images", annotations="xml", labels={"plate": "licence"})
    assert data.samples[0].boxes == (
        Box("licence", (5, 6, 30, 20), 350),
        Box("licence", (1, 1, 60, 40), 2301, ignored=True),
    )


def test_a_box_that_does_not_lie_on_its_photo_is_refused(tmp_path: Path) -> None:
    """Annotations of another size of the photo are told with both."""
    photo(tmp_path / "images/a.png")
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml/a.xml").write_text(VOC.format(OBJECT.format("plate", 0, 5, 6, 120, 80)))
    refused(
        tmp_path,
        "a.png is 60x40",
        "its box 5 6 120 80 does not lie on it",
        kind="voc",
        images="images",
        annotations="xml",
    )


def test_ccpd_has_its_box_in_the_name(tmp_path: Path) -> None:
    """The third field, x1&y1_x2&y2; another name is an error."""
    photo(tmp_path / "ccpd/0130387931034-88_83-258&504_472&569-476&566_266&568_251&496_461&494-0_0-115-15.jpg")
    data = read(tmp_path, kind="ccpd", images="ccpd")
    assert data.samples[0].boxes == (Box("plate", (258, 504, 472, 569), 214 * 65),)
    photo(tmp_path / "ccpd/holiday.jpg")
    refused(tmp_path, "holiday.jpg is no name of CCPD's", kind="ccpd", images="ccpd")


def test_a_split_takes_the_photos_that_it_names(tmp_path: Path) -> None:
    """By file name, what follows a comma is not read; a name that is not there is an error."""
    for name in ("glass/glass1.jpg", "glass/glass2.jpg", "paper/paper1.jpg"):
        photo(tmp_path / "waste" / name)
    (tmp_path / "test.csv").write_text("glass2.jpg,0\npaper1.jpg,1\n")
    data = read(tmp_path, kind="folders", images="waste", split="test.csv")
    assert [(sample.name, sample.label) for sample in data.samples] == [
        ("glass/glass2.jpg", "glass"),
        ("paper/paper1.jpg", "paper"),
    ]
    only = read(tmp_path, kind="folders", images="waste", only="test.csv", ignore=["paper"])
    assert [sample.label for sample in only.samples] == ["glass"]
    (tmp_path / "test.csv").write_text("glass9.jpg\n")
    refused(tmp_path, "1 of the 1 photos", "glass9.jpg", kind="folders", images="waste", split="test.csv")


def test_classes_from_prefixes_and_tables(tmp_path: Path) -> None:
    """`CLASS_12.jpg`, and `file,class` beside the recipe."""
    for name in ("apple_1.jpg", "red_apple_2.jpg", "mixed_3.jpg"):
        photo(tmp_path / "fruits" / name)
    data = read(tmp_path, kind="prefix", images="fruits", ignore=["mixed"], labels={"red_apple": "apple"})
    assert [(sample.name, sample.label) for sample in data.samples] == [
        ("apple_1.jpg", "apple"),
        ("red_apple_2.jpg", "apple"),
    ]
    (tmp_path / "table.csv").write_text("# file,class\nmixed_3.jpg,fruit\n")
    table = read(tmp_path, kind="csv", images="fruits", table="table.csv")
    assert [(sample.name, sample.label) for sample in table.samples] == [("mixed_3.jpg", "fruit")]
    (tmp_path / "table.csv").write_text("mixed_3.jpg\n")
    refused(tmp_path, "is not `file name,class`", kind="csv", images="fruits", table="table.csv")


def test_a_class_that_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    """With the words to write into the recipe."""
    coco(tmp_path)
    data = read(tmp_path, kind="coco", images="images", annotations="coco.json")
    with pytest.raises(
        BuildError, match=r"'balloon', and the model knows kite: write evaluation.labels: .balloon: kite"
    ):
        check_labels(data, ["kite"])


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"kind": "coco", "images": "nowhere", "annotations": "coco.json"}, "is no folder; give --data DIR"),
        ({"kind": "coco", "images": "images", "annotations": "none.json"}, "cannot read"),
        ({"kind": "voc", "images": "images", "annotations": "images"}, "has no"),
        ({"kind": "folders", "images": "images"}, "lies in no folder of a class"),
        ({"kind": "prefix", "images": "images"}, "says no class"),
    ],
)
def test_what_is_not_there_is_told(tmp_path: Path, settings: dict[str, Any], part: str) -> None:
    """Each missing or strange file by its name."""
    coco(tmp_path)
    refused(tmp_path, part, **settings)


def test_coco_that_lacks_a_field_or_a_photo(tmp_path: Path) -> None:
    """Not a traceback."""
    coco(tmp_path, categories=[])
    refused(tmp_path, "is not COCO's JSON of boxes", kind="coco", images="images", annotations="coco.json")
    coco(tmp_path)
    (tmp_path / "images/a.jpg").unlink()
    refused(tmp_path, "a.jpg is not there", kind="coco", images="images", annotations="coco.json")
