"""What the peers serve against what the project does: the same pixels, the same boxes."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import network
from benchmarks.peers.network import batch_from_photos, boxes_from_outputs
from benchmarks.peers.subject import Differs, Subject
from tests.vision.contracts import detector
from vision.contract import Normalise, PadToSize, ResizeKeepRatio
from vision.decode import image_from_bytes
from vision.heads import detections_from_outputs
from vision.transforms import Preprocessor

ROOT = Path(__file__).parents[2]
PHOTOS = [ROOT / "tests/assets/balloons.jpg", *sorted((ROOT / "recipes/photos").glob("*.jpg"))[:6]]
SIZE_HW = (network.SIDE, network.SIDE)
CONTRACT = detector(
    ResizeKeepRatio(
        long_edge=network.SIDE, short_edge=network.SIDE, rounding="mmcv", interpolation="bilinear", library="opencv"
    ),
    PadToSize(size_hw=SIZE_HW, value=(network.GREY,) * 3),
    Normalise(mean=network.MEAN_BGR, std=network.STD_BGR),
    size_hw=SIZE_HW,
    layout="NCHW",
    labels=network.LABELS,
    score_threshold=network.SCORE_THRESHOLD,
    max_detections=100,
)


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_pixels_and_boxes_are_ours(photo: Path) -> None:
    """To the last bit, whatever the photo's shape; boxes that reach over its edges, too."""
    encoded = photo.read_bytes()
    batch, [placed] = batch_from_photos([encoded])
    ours, geometries = Preprocessor(CONTRACT).batch([image_from_bytes(encoded, max_pixels=100_000_000)])
    np.testing.assert_array_equal(batch, ours)

    rng = np.random.default_rng(0)
    inner_w, inner_h = (side * scale for side, scale in zip(placed.size_wh, placed.scale_xy, strict=True))
    upper_left = rng.uniform(-20, 0.8, (50, 2)) * [1, 1] + rng.uniform(0, 0.8, (50, 2)) * [inner_w, inner_h]
    corners = np.hstack([upper_left, upper_left + rng.uniform(30, 200, (50, 2))])
    dets = np.hstack([corners, rng.uniform(0, 1, (50, 1))]).astype(np.float32)
    label_ids = np.zeros(50, np.int64)
    [expected] = detections_from_outputs(CONTRACT, {"dets": dets[None], "labels": label_ids[None]}, geometries)
    found = boxes_from_outputs(dets, label_ids, placed)
    assert len(found) == len(expected) > 20
    assert [each["score"] for each in found] == expected.scores.tolist()
    np.testing.assert_allclose([each["box"] for each in found], expected.boxes_xyxy, atol=1e-3)


def test_a_side_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    """One box less, moved by a pixel, with another score or label: the benchmark ends, and names the side."""
    box = {"label": "person", "score": 0.75, "box": [10.0, 20.0, 30.0, 40.0]}
    subject = Subject(tmp_path, tmp_path, [box, box], tmp_path)
    subject.check("peer", [box, box | {"score": 0.7501}])
    for wrong in ({"label": "cat"}, {"score": 0.76}, {"box": [11.0, 20.0, 30.0, 40.0]}):
        with pytest.raises(Differs, match="peer"):
            subject.check("peer", [box, box | wrong])
    with pytest.raises(Differs, match="peer"):
        subject.check("peer", [box])


def test_the_peers_run_the_same_libraries() -> None:
    """ONNX Runtime, OpenCV and NumPy are locked at one version for them and for the project."""
    ours, theirs = (pins(ROOT / f"requirements/{name}.txt") for name in ("dev", "peers"))
    for name in ("onnxruntime", "opencv-python-headless", "numpy"):
        assert theirs[name] <= ours[name], f"{name}: change the version in requirements/peers.in, then `make lock`"


def pins(lock: Path) -> dict[str, set[str]]:
    """Versions by package; there may be one for each Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^(\S+)==([^\s;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found
