"""Tritons that do not have the same models and versions."""

import json
from collections import Counter

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc

from tests.fake_triton import FakeModel
from tests.gateway.replicas.fakes import PHOTO, Frozen, before, kill, refuse_version, retries
from tests.gateway.serving import RunningGateway, eventually, samples
from tests.gateway.streams import answer, streaming
from tests.tiny_models import colour_contract


def test_a_model_that_only_one_has(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """All its requests go there; what differs stands with the model."""
    assert "replicas" not in both.http.get("/v1/models/colour").json()
    a.models["colour"].state, a.models["colour"].reason = "UNAVAILABLE", "unloaded"
    del b.models["spot"]
    eventually(lambda: "replicas" in both.http.get("/v1/models/colour").json(), within_s=5)
    assert {both.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
    assert {both.predict("spot", PHOTO).status_code for _ in range(6)} == {200}
    assert Counter(each.model for each in a.received) == {"spot": 6}
    assert Counter(each.model for each in b.received) == {"colour": 6}
    colour = both.http.get("/v1/models/colour").json()
    assert (colour["ready"], colour["replicas"][b.address]["ready"]) == (True, True)
    assert "clients load colour" in colour["replicas"][a.address]["problem"]
    assert both.http.get("/v1/models/spot").json()["replicas"][b.address] is None
    assert both.http.get("/health/ready").json()["models"] == {"colour": "ready", "spot": "ready"}
    assert samples(both)["gateway_models_ready",] == 2


def test_a_model_that_nobody_has_ready_says_why(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Of every replica; and a name that none knows lists what there is."""
    for fake, reason in ((a, "unloaded"), (b, "out of memory")):
        fake.models["colour"].state, fake.models["colour"].reason = "UNAVAILABLE", reason
    eventually(lambda: both.predict("colour", PHOTO).status_code == 503, within_s=5)
    detail = both.predict("colour", PHOTO).json()["detail"]
    assert "clients load colour" in detail
    assert "out of memory" in detail
    response = both.predict("color", PHOTO)
    assert (response.status_code, response.json()["error"]) == (404, "unknown_model")
    assert "the models are: colour, spot" in response.json()["detail"]


def test_a_model_unloaded_since_the_last_look_is_asked_of_another(a: Frozen, b: Frozen) -> None:
    """However long ago that was."""
    with before(a, b, refresh_s=60) as gateway:
        a.models["colour"].state, a.models["colour"].reason = "UNAVAILABLE", "unloaded"
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
        assert retries(gateway, "model_not_ready") == 1


def test_a_version_published_everywhere_since_the_last_look_fails_nothing(a: Frozen, b: Frozen) -> None:
    """Where the old one is gone all repositories are looked at again: others are no wiser by themselves."""
    contract = colour_contract().model_copy(update={"labels": ("bleu", "vert", "rouge")})
    with before(a, b, refresh_s=60) as gateway:
        assert gateway.predict("colour", PHOTO).json()["version"] == "1"
        for fake in (a, b):
            fake.models["colour"] = FakeModel(contract, version="2")
            refuse_version(fake, "1")
        for _ in range(4):
            found = gateway.predict("colour", PHOTO).json()
            assert found["version"] == "2"
            assert found["results"][0]["classes"][0]["label"] in contract.labels


def test_versions_side_by_side(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """While a new one is loaded by each in turn any may answer, and says which; who names one gets that one."""
    b.models["colour"].version = "2"
    eventually(lambda: "replicas" in both.http.get("/v1/models/colour").json(), within_s=5)
    found = Counter(both.predict("colour", PHOTO).json()["version"] for _ in range(8))
    assert found == {"1": 4, "2": 4}
    assert both.http.get("/v1/models/colour").json()["version"] == "2"
    image = triton_grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([PHOTO], object))
    with triton_grpc.InferenceServerClient(both.grpc) as client:
        for version in ("1", "2", "2", "1", "1"):
            answered = client.infer("colour", [image], model_version=version)
            assert answered.get_response().model_version == version
            assert client.is_model_ready("colour", version)
        assert not client.is_model_ready("colour", "3")
        with pytest.raises(Exception, match="is served in version 1 and 2, not '3'"):
            client.infer("colour", [image], model_version="3")
        assert list(client.get_model_metadata("colour").versions) == ["1", "2"]
    assert {each.version for each in a.received} == {"1"}
    assert {each.version for each in b.received} == {"2"}
    assert both.http.get("/v2/models/colour/versions/2/ready").status_code == 200
    assert both.http.get("/v2/models/colour/versions/3/ready").status_code == 404


def test_a_request_that_names_a_version_is_not_answered_by_another(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Nor when the only replica that has it fails."""
    b.models["colour"].version = "2"
    eventually(lambda: "replicas" in both.http.get("/v1/models/colour").json(), within_s=5)
    b.failure = "queue full"
    content = len(PHOTO).to_bytes(4, "little") + PHOTO
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [image]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    response = both.http.post("/v2/models/colour/versions/2/infer", content=head + content, headers=headers)
    assert response.status_code == 429
    assert "Exceeds maximum queue size" in response.json()["error"]
    assert a.received == []


def test_frames_of_a_stream_go_to_any(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Each by itself: a camera does not stay with a replica, nor lose a frame to one that dies."""
    with streaming(both.url, "colour", "frames=every") as stream:
        for number in range(12):
            if number == 6:
                kill(a)
            stream.send(PHOTO)
            assert "results" in answer(stream)
    assert (len(a.received), len(b.received)) == (3, 9)
