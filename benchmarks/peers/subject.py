"""What everybody is asked: a model for people, and a photo of 413x300 pixels and some 35 KB with people on it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import onnx

from benchmarks import record
from benchmarks.peers.network import INPUT, SIDE, Box, Detector
from builder.importer import Order, import_model
from builder.publishing.triton_config import Serving

DATA = Path(os.environ.get("JETSERVE_DATA", record.ROOT.parent / "shared/data"))
MODEL = DATA / "models/rtmdet_nano_person.onnx"
SOURCE = DATA / "balloon/images/4887227769_acd2e6127d_b.jpg"
RECIPE = Path(__file__).with_name("recipe.yaml")
SIZE_WH = (413, 300)
MAX_BYTES = 35_000
SCORE_MAY_DIFFER = 1e-3
BOX_MAY_DIFFER_PX = 0.1
OURS = {"person": Serving(instances=2, preferred_batch=(2,)), "person_plain": Serving()}
"""As docs/04 advises for two cores; and as everybody imports it."""
FLOATS = {"floats_2x1": Serving(instances=2, threads=1), "floats_1x2": Serving(threads=2)}
"""These take float planes, as the ONNX came."""


class Differs(Exception):  # noqa: N818 - what happened
    """A side finds other boxes than the model does without a server."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Files of one run; `boxes` are what everybody must answer."""

    model: Path
    photo: Path
    boxes: list[Box]
    repository: Path
    """Triton's, with the models of OURS and FLOATS."""

    def check(self, side: str, found: list[Box]) -> None:
        """Nothing where `found` are the same.

        Raises:
            Differs: what was expected, and what came.
        """
        if len(found) != len(self.boxes) or not all(map(same, found, self.boxes)):
            raise Differs(f"{side} answers other boxes than the model alone: expected {self.boxes}, got {found}")

    def described(self) -> dict[str, Any]:
        """For the record."""
        width, height = SIZE_WH
        return {
            "photo": {"bytes": self.photo.stat().st_size, "width": width, "height": height, "boxes": len(self.boxes)},
            "model": {"name": MODEL.name, "sha256": record.sha256(MODEL), "side": SIDE},
        }


def subject_in(folder: Path) -> Subject:
    """Make the files of a run in `folder`."""
    model, photo, repository = folder / "person.onnx", folder / "photo.jpg", folder / "models"
    write_model(model)
    photo.write_bytes(photo_jpeg())
    repository.mkdir()
    for name, serving in OURS.items():
        import_model(Order(model, name, repository, recipe=RECIPE, serving=serving), lambda *_: None)
    for name, serving in FLOATS.items():
        import_model(Order(model, name, repository, recipe=RECIPE, serving=serving, fold=False), lambda *_: None)
    [boxes] = Detector(str(model), threads=1)([photo.read_bytes()])
    return Subject(model, photo, boxes, repository)


def photo_jpeg(source: Path = SOURCE) -> bytes:
    """`source` scaled to SIZE_WH, as a JPEG of the best quality that stays within MAX_BYTES."""
    image = cv2.imread(str(source))
    if image is None:
        raise FileNotFoundError(f"{source} is not there, or no picture: set JETSERVE_DATA to the folder of data sets")
    image = cv2.resize(image, SIZE_WH, interpolation=cv2.INTER_AREA)
    for quality in range(100, 0, -1):
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= MAX_BYTES:
            return encoded
    raise ValueError(f"{source} does not fit into {MAX_BYTES} bytes at {SIZE_WH}")


def write_model(to: Path, source: Path = MODEL) -> None:
    """`source`, which takes any height and width, with both fixed: what is known of a tensor's size helps everybody."""
    model = onnx.load(source)
    [tensor] = [each for each in model.graph.input if each.name == INPUT]
    for axis in (2, 3):
        tensor.type.tensor_type.shape.dim[axis].dim_value = SIDE
    onnx.save(model, to)


def same(one: Box, other: Box) -> bool:
    """Equal but for what another order of arithmetic makes."""
    corners = zip(one["box"], other["box"], strict=True)
    return (
        one["label"] == other["label"]
        and abs(one["score"] - other["score"]) <= SCORE_MAY_DIFFER
        and all(abs(a - b) <= BOX_MAY_DIFFER_PX for a, b in corners)
    )
