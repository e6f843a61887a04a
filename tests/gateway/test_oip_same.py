"""The same photo has the same findings, to the last bit, over HTTP, gRPC, the protocol's HTTP and a WebSocket, and by
the client that asks Triton itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from builder.__main__ import main as build
from clients import DirectClient
from tests.gateway.oip import Outputs, assert_same, calling
from tests.gateway.photos import BALLOONS, encoded
from tests.gateway.serving import RunningGateway, running_gateway
from tests.gateway.streams import answer, streaming
from tests.local_triton import LocalTriton

pytestmark = pytest.mark.triton

BUNDLE = Path(__file__).parents[2] / "recipes" / "balloon-rtmdet" / "sdk"


@pytest.fixture(scope="module")
def balloons(triton: LocalTriton) -> Iterator[RunningGateway]:
    assert build(["import", str(BUNDLE), "--name", "same_balloon", "--repository", str(triton.repository)]) == 0
    triton.load("same_balloon")
    with running_gateway(triton.address) as gateway:
        yield gateway


def from_json(results: list[dict[str, Any]]) -> Outputs:
    """The tensors that a JSON answer amounts to, of photos with the same number of findings."""
    kind = "detections" if "detections" in results[0] else "classes"
    rows = [result[kind] for result in results]
    tensors: dict[str, Any] = {
        "scores": np.array([[item["score"] for item in row] for row in rows], np.float32),
        "label_ids": np.array([[item["label_id"] for item in row] for row in rows], np.int64),
        "counts": np.array([len(row) for row in rows], np.int64),
        "labels": np.array([[item["label"].encode() for item in row] for row in rows], np.object_),
    }
    if kind == "classes":
        return tensors
    sides = ("x1", "y1", "x2", "y2")
    boxes = [[[item["box"][side] for side in sides] for item in row] for row in rows]
    return {"boxes": np.array(boxes, np.float32)} | tensors


def every_way(gateway: RunningGateway, model: str, photos: list[bytes]) -> list[Outputs]:
    files = [("file", (f"{index}.jpg", photo)) for index, photo in enumerate(photos)]
    results = gateway.http.post(f"/v1/models/{model}/predict", files=files).json()["results"]
    found = [from_json(results)]
    for transport in ("grpc", "http"):
        with calling(gateway, transport) as caller:
            found.append(caller.arrays(model, photos))
    with calling(gateway, "http") as caller:
        as_json = [tritonclient.http.InferRequestedOutput(name, binary_data=False) for name in found[0]]
        found.append(caller.arrays(model, photos, outputs=as_json))
    with streaming(gateway.url, model, "frames=every") as stream:
        streamed = []
        for photo in photos:
            stream.send(photo)
            streamed += answer(stream)["results"]
    found.append(from_json(streamed))
    with DirectClient(gateway.service.settings.triton) as direct:
        asked = [direct.predict(photo, model).model_dump(exclude_none=True) for photo in photos]
    found.append(from_json(asked))
    return found


def test_objects(balloons: RunningGateway) -> None:
    """Of a trained detector, on one photo and on several."""
    photo = BALLOONS.read_bytes()
    for photos in ([photo], [photo, photo]):
        over_http, *others = every_way(balloons, "same_balloon", photos)
        assert over_http["counts"].min() >= 3
        for other in others:
            assert_same(over_http, {name: _bytes(array) for name, array in other.items()})


def test_classes(served: RunningGateway) -> None:
    """Of a classifier whose scores have more decimals than are told."""
    photo = encoded(41, 37, (200, 101, 33), ".png")
    over_http, *others = every_way(served, "http_colour", [photo, photo])
    for other in others:
        assert_same(over_http, {name: _bytes(array) for name, array in other.items()})


def _bytes(array: Any) -> Any:
    """Text, which JSON has for bytes, as bytes."""
    if array.dtype != np.object_:
        return array
    flat = [element.encode() if isinstance(element, str) else element for element in array.ravel()]
    return np.array(flat, np.object_).reshape(array.shape)
