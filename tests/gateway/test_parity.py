"""Boxes over HTTP are those of `mmdeploy_runtime` on the same bundle and photo: nothing is lost on the way."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest

from builder.__main__ import main as build
from clients import GatewayClient
from tests.gateway.photos import BALLOONS
from tests.gateway.serving import running_gateway
from tests.local_triton import LocalTriton

pytestmark = pytest.mark.triton
mmdeploy_runtime = pytest.importorskip(
    "mmdeploy_runtime", reason="mmdeploy_runtime has wheels for x86-64 and Python 3.11 alone"
)

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
DATA = Path(os.environ.get("JETSERVE_DATA", ROOT.parent / "shared" / "data")) / "balloon" / "images"
PHOTOS = 24
SCORE = 0.3
BOX_TOLERANCE, SCORE_TOLERANCE = 0.5, 0.005


class Found(NamedTuple):
    label_id: int
    score: float
    box: tuple[float, ...]

    def agrees(self, other: "Found") -> bool:
        return (
            self.label_id == other.label_id
            and abs(self.score - other.score) <= SCORE_TOLERANCE
            and all(abs(a - b) <= BOX_TOLERANCE for a, b in zip(self.box, other.box, strict=True))
        )


@pytest.fixture(scope="module")
def reference() -> Any:
    return mmdeploy_runtime.Detector(model_path=str(BUNDLE), device_name="cpu", device_id=0)


@pytest.fixture(scope="module")
def client(triton: LocalTriton) -> Iterator[GatewayClient]:
    assert build(["import", str(BUNDLE), "--name", "parity_balloon", "--repository", str(triton.repository)]) == 0
    triton.load("parity_balloon")
    with running_gateway(triton.address) as gateway, GatewayClient(gateway.url) as client:
        yield client


def over_http(client: GatewayClient, photo: Path) -> list[Found]:
    result = client.predict(photo, "parity_balloon")
    assert result.detections is not None
    return [
        Found(found.label_id, found.score, (found.box.x1, found.box.y1, found.box.x2, found.box.y2))
        for found in result.detections
    ]


def by_reference(detector: Any, photo: Path) -> list[Found]:
    boxes, label_ids, _ = detector(cv2.imread(str(photo)))
    return [
        Found(int(label_id), float(score), tuple(map(float, box)))
        for (*box, score), label_id in zip(boxes, label_ids, strict=True)
    ]


def assert_agree(ours: list[Found], theirs: list[Found], photo: Path) -> int:
    """Each box above the score has its own counterpart on the other side; the number of them comes back."""
    sure = 0
    for one, other, whose in ((ours, theirs, "ours"), (theirs, ours, "the reference's")):
        left = list(other)
        for found in (found for found in one if found.score > SCORE):
            match = next((candidate for candidate in left if found.agrees(candidate)), None)
            assert match is not None, f"{photo.name}: {found} is {whose} alone; the other side has {other[:8]}"
            left.remove(match)
            sure += 1
    return sure // 2


def test_the_shipped_picture(client: GatewayClient, reference: Any) -> None:
    """It has balloons, all are found, and both sides agree on them."""
    ours = over_http(client, BALLOONS)
    assert assert_agree(ours, by_reference(reference, BALLOONS), BALLOONS) >= 3


@pytest.mark.data
def test_balloon_photos(client: GatewayClient, reference: Any) -> None:
    """On photos of many sizes."""
    photos = sorted(DATA.glob("*.jpg"))[:PHOTOS]
    if not photos:
        pytest.skip(f"no photos in {DATA}: set JETSERVE_DATA")
    assert len(photos) >= 20
    agreed = sum(assert_agree(over_http(client, photo), by_reference(reference, photo), photo) for photo in photos)
    assert agreed >= len(photos)
