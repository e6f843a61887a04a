"""From photo to boxes against `mmdeploy_runtime.Detector` on the balloon bundle: one network, our pixels and head."""

import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.vision.contracts import detector
from vision.contract import Normalise, PadToSize, ResizeKeepRatio
from vision.decode import image_from_bytes
from vision.heads import Detections, detections_from_outputs
from vision.transforms import Preprocessor

mmdeploy_runtime = pytest.importorskip(
    "mmdeploy_runtime", reason="mmdeploy_runtime has wheels for x86-64 and Python 3.11 alone"
)

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "recipes/balloon-rtmdet/sdk"
SHIPPED = ROOT / "tests/assets/balloons.jpg"
DATA = Path(os.environ.get("JETSERVE_DATA", ROOT.parent / "shared/data"))
SIDE = 416

CONTRACT = detector(
    ResizeKeepRatio(long_edge=SIDE, short_edge=SIDE, rounding="mmdeploy", interpolation="bilinear", library="opencv"),
    PadToSize(size_hw=(SIDE, SIDE), value=(114, 114, 114)),
    Normalise(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)),
    size_hw=(SIDE, SIDE),
    layout="NCHW",
    labels=("balloon",),
    score_threshold=0.001,
    max_detections=300,
)
"""What the bundle's pipeline.json says, by hand, so that no code of the importer's is needed here."""


class Pair:
    """The same network twice: in the SDK, and in ONNX Runtime between our preprocessing and our head."""

    def __init__(self) -> None:
        self._sdk = mmdeploy_runtime.Detector(str(BUNDLE), "cpu", 0)
        self._session = onnxruntime.InferenceSession(BUNDLE / "end2end.onnx", providers=["CPUExecutionProvider"])
        self._preprocess = Preprocessor(CONTRACT)

    def ours(self, photo: NDArray[np.uint8]) -> Detections:
        batch, geometries = self._preprocess.batch([photo])
        dets, labels = self._session.run(["dets", "labels"], {"input": batch})
        outputs = {"dets": np.asarray(dets), "labels": np.asarray(labels)}
        return detections_from_outputs(CONTRACT, outputs, geometries)[0]

    def theirs(self, photo: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        dets, _, _ = self._sdk(photo)
        order = np.argsort(-dets[:, 4], kind="stable")
        return dets[order, :4], dets[order, 4]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def balloon_photos() -> list[Path]:
    """24 photos, every third of the data set."""
    return sorted((DATA / "balloon/images").glob("*.jpg"))[::3][:24]


def assert_same_boxes(pair: Pair, photo: NDArray[np.uint8]) -> int:
    found = pair.ours(photo)
    boxes, scores = pair.theirs(photo)
    count = int((scores > 0.3).sum())
    assert int((found.scores > 0.3).sum()) == count
    np.testing.assert_allclose(found.scores[:count], scores[:count], atol=0.005)
    np.testing.assert_allclose(found.boxes_xyxy[:count], boxes[:count], atol=0.5)
    return count


def test_the_shipped_picture(pair: Pair) -> None:
    """The picture in the repository gives the SDK's boxes within 0.5 px and scores within 0.005, and there are some."""
    assert assert_same_boxes(pair, image_from_bytes(SHIPPED.read_bytes(), max_pixels=50_000_000)) > 0


@pytest.mark.parametrize("size_wh", [(640, 480), (333, 500), (1000, 97), (64, 48), (1920, 1440)], ids=str)
def test_other_shapes_of_it(pair: Pair, size_wh: tuple[int, int]) -> None:
    """The same holds for portrait, panorama, thumbnail and large: every scale comes back to the photo's pixels."""
    photo = image_from_bytes(SHIPPED.read_bytes(), max_pixels=50_000_000)
    assert_same_boxes(pair, cv2.resize(photo, size_wh).astype(np.uint8))


def test_boxes_at_the_border_are_clipped_alike(pair: Pair) -> None:
    """A balloon cut by the border ends on the same pixel as the SDK's: all boxes down to 0.001, not only the good."""
    photo = image_from_bytes(SHIPPED.read_bytes(), max_pixels=50_000_000)
    photo = np.ascontiguousarray(photo[150:, 130:])
    found, (boxes, _) = pair.ours(photo), pair.theirs(photo)
    assert (boxes[:, :2] == 0).any()
    assert len(found) == len(boxes)
    np.testing.assert_allclose(np.sort(found.boxes_xyxy, axis=0), np.sort(boxes, axis=0), atol=0.5)


@pytest.mark.data
@pytest.mark.skipif(not balloon_photos(), reason=f"no photos in {DATA / 'balloon/images'}; set JETSERVE_DATA")
def test_balloon_photos(pair: Pair) -> None:
    """Over 24 balloon photos, every box above 0.3 agrees with the SDK's within 0.5 px and 0.005 in score."""
    photos = balloon_photos()
    assert len(photos) >= 20
    counts = [assert_same_boxes(pair, image_from_bytes(path.read_bytes(), max_pixels=50_000_000)) for path in photos]
    assert sum(counts) >= len(photos)
