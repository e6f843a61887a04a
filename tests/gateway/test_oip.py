"""Triton's own clients, as they are, get findings from encoded photos; from the gateway before a real Triton."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.gateway.oip import CLASSIFIER_OUTPUTS, DETECTOR_OUTPUTS, Caller, calling
from tests.gateway.photos import BLUE, GREEN, RED, encoded, spotted
from tests.gateway.serving import RunningGateway
from vision import __version__

pytestmark = pytest.mark.triton


@pytest.fixture(params=["grpc", "http"])
def caller(served: RunningGateway, request: pytest.FixtureRequest) -> Iterator[Caller]:
    with calling(served, request.param) as caller:
        yield caller


def test_the_server_is_asked(caller: Caller) -> None:
    """Live, ready, and what it is."""
    assert caller.client.is_server_live()
    assert caller.client.is_server_ready()
    metadata = caller.client.get_server_metadata()
    as_fields = metadata if isinstance(metadata, dict) else {"name": metadata.name, "version": metadata.version}
    assert (as_fields["name"], as_fields["version"]) == ("jetserve", __version__)


def test_models_are_listed(caller: Caller) -> None:
    """With Triton's own words for their state."""
    models = caller.models()
    assert models["http_colour"] == models["http_spot"] == "READY"


@pytest.mark.parametrize(
    ("model", "version", "ready"),
    [("http_spot", "", True), ("http_spot", "1", True), ("http_spot", "7", False), ("http_spto", "", False)],
)
def test_a_model_is_ready_in_the_version_that_is_served(caller: Caller, model: str, version: str, ready: bool) -> None:
    """And no other model and version is."""
    assert caller.client.is_model_ready(model, version) is ready


def test_a_model_is_described_as_it_is_served(caller: Caller) -> None:
    """Encoded photos in, findings out: not the network's own tensors."""
    metadata = caller.client.get_model_metadata("http_spot")
    if not isinstance(metadata, dict):
        metadata = {
            "name": metadata.name,
            "versions": list(metadata.versions),
            "platform": metadata.platform,
            "inputs": [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in metadata.inputs],
            "outputs": [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in metadata.outputs],
        }
    assert metadata == {
        "name": "http_spot",
        "versions": ["1"],
        "platform": "jetserve_detection",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "label_ids", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "counts", "datatype": "INT64", "shape": [-1]},
            {"name": "labels", "datatype": "BYTES", "shape": [-1, -1]},
        ],
    }


def test_a_jpeg_is_classified(caller: Caller) -> None:
    """Bytes of the file in, classes out, best first."""
    found = caller.arrays("http_colour", [encoded(64, 48, GREEN, ".jpg")])
    assert list(found) == CLASSIFIER_OUTPUTS
    assert found["labels"].tolist()[0][0] == b"green"
    assert found["label_ids"].dtype == np.int64
    assert found["scores"].shape == found["label_ids"].shape == found["labels"].shape == (1, 3)
    assert found["counts"].tolist() == [3]


def test_objects_are_in_pixels_of_the_photo_as_sent(caller: Caller) -> None:
    """As corners, best first."""
    found = caller.arrays("http_spot", [spotted(320, 64, 3, 31)])
    assert list(found) == DETECTOR_OUTPUTS
    assert found["boxes"].dtype == found["scores"].dtype == np.float32
    assert found["boxes"].tolist() == [[[310, 0, 319, 2], [30, 0, 40, 2]]]
    assert found["scores"].tolist() == [[1.0, 0.125]]
    assert found["labels"].tolist() == [[b"spot", b"spot"]]


def test_nothing_found_is_no_error(caller: Caller) -> None:
    """k is 0 then."""
    found = caller.arrays("http_spot", [spotted(320, 64)])
    assert {name: array.shape for name, array in found.items()} == {
        "boxes": (1, 0, 4),
        "scores": (1, 0),
        "label_ids": (1, 0),
        "counts": (1,),
        "labels": (1, 0),
    }


def test_more_photos_than_the_model_takes_at_once_keep_their_order(caller: Caller) -> None:
    """Of several sizes, formats, and as [n, 1] as well as [n]."""
    colours = {BLUE: b"blue", GREEN: b"green", RED: b"red"}
    asked = [BLUE, GREEN, RED, RED, GREEN, BLUE, GREEN]
    photos = [encoded(40 + i, 50, colour, (".jpg", ".png", ".bmp")[i % 3]) for i, colour in enumerate(asked)]
    result = caller.client.infer("http_colour", [caller.image(photos, [7, 1])])
    assert result.as_numpy("labels")[:, 0].tolist() == [colours[colour] for colour in asked]


def test_only_what_is_wanted_is_sent(caller: Caller) -> None:
    """In the order it was asked for, under the request's id and the version that answered."""
    result = caller.infer("http_spot", [spotted(320, 64, 3)], ["counts", "boxes"], request_id="17", model_version="1")
    response = result.get_response()
    if isinstance(response, dict):
        assert [output["name"] for output in response["outputs"]] == ["counts", "boxes"]
        assert (response["model_name"], response["model_version"], response["id"]) == ("http_spot", "1", "17")
    else:
        assert [output.name for output in response.outputs] == ["counts", "boxes"]
        assert (response.model_name, response.model_version, response.id) == ("http_spot", "1", "17")
    assert result.as_numpy("boxes").shape == (1, 1, 4)
    assert result.as_numpy("scores") is None


def test_parameters_narrow_the_answer(caller: Caller) -> None:
    """As numbers, as they are, or as text."""
    photo = encoded(40, 40, (255, 128, 0), ".png")
    for top_k in (1, "1"):
        found = caller.arrays("http_colour", [photo], parameters={"top_k": top_k})
        assert found["labels"].tolist() == [[b"blue"]]
    found = caller.arrays("http_colour", [photo], parameters={"score_threshold": 0.3})
    assert found["labels"].tolist() == [[b"blue", b"green"]]
    found = caller.arrays("http_spot", [spotted(320, 64, 0, 10, 20, 30)], parameters={"max_detections": 2})
    assert found["scores"].tolist() == [[0.96875, 0.65625]]
