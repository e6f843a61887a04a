"""Data sets with boxes: COCO, Pascal VOC, CCPD."""

import json
import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from builder.evaluate.samples import STEP, Box, Sample, photos_below
from builder.evaluate.settings import CcpdData, CocoData, VocData
from builder.recipes.photos import MAX_PIXELS
from vision.decode import image_from_bytes
from vision.errors import BuildError, RequestError

CORNERS = re.compile(r"(\d+)&(\d+)_(\d+)&(\d+)")


def from_coco(settings: CocoData, root: Path) -> list[Sample]:
    """Photos in the order of the file. Boxes are x, y, width, height; `area` is the file's, so that it stays COCO's.

    Raises:
        BuildError: no JSON, a field that is missing, or a photo that is.
    """
    path = root / settings.annotations
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in document["categories"]}
        boxes = defaultdict(list)
        for annotation in document["annotations"]:
            x, y, width, height = map(float, annotation["bbox"])
            area = float(annotation.get("area", width * height))
            ignored = bool(annotation.get("iscrowd", 0))
            box = Box(names[annotation["category_id"]], (x, y, x + width, y + height), area, ignored)
            boxes[annotation["image_id"]].append(box)
        images = [(image["id"], image["file_name"]) for image in document["images"]]
    except (OSError, ValueError) as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc}; expected COCO's JSON") from exc
    except (KeyError, TypeError) as exc:
        raise BuildError(STEP, f"{path} is not COCO's JSON of boxes: {exc!r} is missing or wrong") from exc
    return [Sample(name, _there(root / settings.images / name, path), tuple(boxes[number])) for number, name in images]


def from_voc(settings: VocData, root: Path) -> list[Sample]:
    """Photos by name, those that have an XML file. Corners count from 1 in VOC, and are taken as they stand.

    The file's own width and height are not read, since some tools write 0: boxes are held against the photo.

    Raises:
        BuildError: a photo without its XML, XML that is none, or a box outside its photo.
    """
    samples = []
    for photo in photos_below(root / settings.images):
        path = root / settings.annotations / f"{photo.stem}.xml"
        try:
            objects = ElementTree.parse(path).getroot().iter("object")  # noqa: S314 - the person's own annotations
            boxes = tuple(_voc_box(entry, path) for entry in objects)
        except FileNotFoundError as exc:
            raise BuildError(STEP, f"{photo.name} has no {path}") from exc
        except ElementTree.ParseError as exc:
            raise BuildError(STEP, f"{path} is not XML: {exc}") from exc
        sample = Sample(photo.name, photo, boxes)
        _check_inside(sample)
        samples.append(sample)
    return samples


def _check_inside(sample: Sample) -> None:
    """Boxes that do not lie on their photo come from another photo, or from another size of it.

    Raises:
        BuildError: naming photo, its size and the box; or the photo cannot be decoded.
    """
    try:
        height, width = image_from_bytes(sample.path.read_bytes(), max_pixels=MAX_PIXELS).shape[:2]
    except RequestError as exc:
        raise BuildError(STEP, f"{sample.path}: {exc.detail}") from exc
    for box in sample.boxes:
        x1, y1, x2, y2 = box.xyxy
        if x2 <= x1 or y2 <= y1 or x1 > width or y1 > height or x2 > 1.05 * width + 1 or y2 > 1.05 * height + 1:
            raise BuildError(
                STEP, f"{sample.name} is {width}x{height}, and its box {x1:g} {y1:g} {x2:g} {y2:g} does not lie on it"
            )


def from_ccpd(settings: CcpdData, root: Path) -> list[Sample]:
    """Photos by name: `area-angles-x1&y1_x2&y2-corners-…`.

    Raises:
        BuildError: a file name without a box.
    """
    samples = []
    for photo in photos_below(root / settings.images):
        fields = photo.stem.split("-")
        found = CORNERS.fullmatch(fields[2]) if len(fields) > 2 else None
        if found is None:
            raise BuildError(STEP, f"{photo.name} is no name of CCPD's: its third field must be x1&y1_x2&y2")
        x1, y1, x2, y2 = map(float, found.groups())
        samples.append(Sample(photo.name, photo, (_box(settings.label, x1, y1, x2, y2),)))
    return samples


def _voc_box(entry: ElementTree.Element, path: Path) -> Box:
    corners = [entry.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
    label = entry.findtext("name")
    try:
        x1, y1, x2, y2 = (float(corner or "") for corner in corners)
    except ValueError as exc:
        raise BuildError(STEP, f"{path} has a box with corners {corners}, expected four numbers") from exc
    if not label:
        raise BuildError(STEP, f"{path} has an object without a name")
    return _box(label.strip(), x1, y1, x2, y2, ignored=entry.findtext("difficult", "0").strip() == "1")


def _box(label: str, x1: float, y1: float, x2: float, y2: float, *, ignored: bool = False) -> Box:
    return Box(label, (x1, y1, x2, y2), max(0.0, x2 - x1) * max(0.0, y2 - y1), ignored)


def _there(photo: Path, named_by: Path) -> Path:
    if not photo.is_file():
        raise BuildError(STEP, f"{photo} is not there, and {named_by} names it")
    return photo
