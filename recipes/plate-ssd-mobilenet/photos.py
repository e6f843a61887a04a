"""The photos with number plates, their boxes, and which of them are kept for the test."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TEST_EVERY = {"carplates": 5, "ccpd": 3}
"""Of each folder's photos in the order of their names, every so manieth is kept for the test."""


class Photo(NamedTuple):
    """`boxes_xyxy` is float32 [n, 4] in pixels."""

    path: Path
    boxes_xyxy: NDArray[np.float32]


def photos_from_folder(data: Path) -> tuple[list[Photo], list[Photo]]:
    """The photos to train with and those to test with: `carplates/` (Pascal VOC) and `ccpd/` (boxes in the names)."""
    train, test = [], []
    for name, photos in {"carplates": _voc(data / "carplates"), "ccpd": _ccpd(data / "ccpd")}.items():
        for number, photo in enumerate(photos):
            (test if number % TEST_EVERY[name] == 0 else train).append(photo)
    return train, test


def coco_from_photos(photos: list[Photo]) -> dict[str, Any]:
    """As COCO annotations: image ids from 1, one category, `plate`, with id 1."""
    import cv2

    images, annotations = [], []
    for image_id, photo in enumerate(photos, start=1):
        height, width = cv2.imread(str(photo.path)).shape[:2]
        images.append({"id": image_id, "file_name": photo.path.name, "width": width, "height": height})
        for x1, y1, x2, y2 in photo.boxes_xyxy.tolist():
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, **box})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "plate"}]}


def _voc(folder: Path) -> Iterator[Photo]:
    for annotation in sorted((folder / "annotations").glob("*.xml")):
        boxes = [
            [float(entry.findtext(f"bndbox/{edge}", "nan")) for edge in ("xmin", "ymin", "xmax", "ymax")]
            for entry in ElementTree.parse(annotation).getroot().iter("object")  # noqa: S314 - our own files
        ]
        [photo] = (folder / "images").glob(f"{annotation.stem}.*")
        yield Photo(photo, np.array(boxes, np.float32))


def _ccpd(folder: Path) -> Iterator[Photo]:
    """The third field of a name is x1&y1_x2&y2."""
    for path in sorted(folder.glob("*.jpg")):
        corners = path.stem.split("-")[2].replace("_", "&").split("&")
        yield Photo(path, np.array([corners], np.float32))
