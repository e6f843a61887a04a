"""`/v2`: what goes over the wire, beside what Triton's client makes of it; and every failure in its words."""

import base64
import json
import socket
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from gateway.http_errors import STATUS_BY_KIND
from tests.fake_triton import FakeTriton
from tests.gateway.oip import CLASSIFIER_OUTPUTS, calling
from tests.gateway.phases import UNDIVIDED, phases_ms
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway

PHOTO = encoded(40, 40)
INFER = "/v2/models/colour/infer"
LENGTH = "inference-header-content-length"


def image(*photos: bytes, **changed: Any) -> dict[str, Any]:
    """The input in JSON alone."""
    data = [base64.b64encode(photo).decode() for photo in photos]
    parameters = {"content_encoding": "base64"}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(photos)], "data": data, "parameters": parameters}
    return tensor | changed


def element(photo: bytes) -> bytes:
    return len(photo).to_bytes(4, "little") + photo


def test_json_alone_is_enough(faked: RunningGateway) -> None:
    """With photos in base64, as JSON has no bytes; the answer is JSON then, with labels as text."""
    response = faked.http.post(INFER, json={"id": "5", "inputs": [image(PHOTO, PHOTO)]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    outputs = {output.pop("name"): output for output in answer.pop("outputs")}
    assert answer == {"model_name": "colour", "model_version": "1", "id": "5"}
    assert list(outputs) == CLASSIFIER_OUTPUTS
    assert outputs["labels"] == {"datatype": "BYTES", "shape": [2, 3], "data": ["blue", "green", "red"] * 2}
    assert outputs["counts"] == {"datatype": "INT64", "shape": [2], "data": [3, 3]}
    assert outputs["scores"] == {"datatype": "FP32", "shape": [2, 3], "data": [0.0] * 6}
    assert list(phases_ms(response)) == UNDIVIDED


def test_rows_in_rows_are_the_same(faked: RunningGateway) -> None:
    """The protocol lets a tensor be nested or flat."""
    nested = image(PHOTO, shape=[1, 1], data=[[base64.b64encode(PHOTO).decode()]])
    assert faked.http.post(INFER, json={"inputs": [nested]}).status_code == 200


def test_figures_in_json_are_the_shortest(fake: FakeTriton, faked: RunningGateway) -> None:
    """0.12346 and not the fifteen digits of its float32; read as float32 they are the same."""
    fake.models["colour"].answer = lambda batch: {"scores": np.full((len(batch), 3), 0.123456789, np.float32)}
    [scores] = faked.http.post(INFER, json={"inputs": [image(PHOTO)], "outputs": [{"name": "scores"}]}).json()[
        "outputs"
    ]
    assert scores["data"] == [0.12346] * 3


def test_bytes_follow_the_json(faked: RunningGateway) -> None:
    """Triton's binary extension, both ways, for the outputs that are asked for so."""
    tail = element(PHOTO)
    head = {
        "inputs": [image(PHOTO, data=None, parameters={"binary_data_size": len(tail)})],
        "outputs": [{"name": "counts", "parameters": {"binary_data": True}}, {"name": "label_ids"}],
    }
    text = json.dumps(head).encode()
    response = faked.http.post(INFER, content=text + tail, headers={LENGTH: str(len(text))})
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[LENGTH])
    counts, label_ids = json.loads(response.content[:length])["outputs"]
    assert counts == {"name": "counts", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    assert label_ids["data"] == [0, 1, 2]
    assert response.content[length:] == (3).to_bytes(8, "little")


def test_all_outputs_as_bytes_but_one(faked: RunningGateway) -> None:
    """`binary_data_output` is for those that do not say themselves."""
    asked = {
        "inputs": [image(PHOTO)],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "labels"}, {"name": "scores", "parameters": {"binary_data": False}}],
    }
    response = faked.http.post(INFER, json=asked)
    labels, scores = json.loads(response.content[: int(response.headers[LENGTH])])["outputs"]
    assert labels["parameters"] == {"binary_data_size": len(element(b"blue") + element(b"green") + element(b"red"))}
    assert scores["data"] == [0.0, 0.0, 0.0]


def test_the_index_may_leave_out_what_is_not_ready(fake: FakeTriton, faked: RunningGateway) -> None:
    """And says of the others why they are not."""
    fake.models["spot"].state, fake.models["spot"].reason = "UNAVAILABLE", "no memory"
    index = faked.http.post("/v2/repository/index").json()
    assert index[0] == {"name": "colour", "version": "1", "state": "READY", "reason": ""}
    assert (index[1]["name"], index[1]["state"]) == ("spot", "UNAVAILABLE")
    assert "no memory" in index[1]["reason"]
    ready = faked.http.post("/v2/repository/index", json={"ready": True}).json()
    assert [entry["name"] for entry in ready] == ["colour"]
    with calling(faked, "grpc") as caller:
        assert caller.models() == {"colour": "READY", "spot": "UNAVAILABLE"}
    assert faked.http.get("/v2/models/spot/ready").status_code == 503


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"[" * 4000, "invalid_argument", "the body is not JSON"),
        (b"[" * 100_000, "too_large", 'may have 4096 bytes and is 100000 bytes; leave it out, or send {"ready": true}'),
        (b"[]", "invalid_argument", "expected a JSON object"),
        (b'{"ready": 1}', "invalid_argument", "expected true or false"),
    ],
)
def test_a_question_for_the_index_is_small(faked: RunningGateway, content: bytes, kind: str, said: str) -> None:
    """It is read without a permit."""
    response = faked.http.post("/v2/repository/index", content=content)
    assert (response.status_code, response.json()["kind"]) == (STATUS_BY_KIND[kind], kind)
    assert said in response.json()["error"]


def test_a_question_for_the_index_that_never_arrives_is_ended(fake: FakeTriton) -> None:
    """By the deadline, as every request."""
    with running_gateway(fake.address, deadline_s=0.3) as gateway, socket.socket() as connection:
        connection.settimeout(5)
        connection.connect(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
        connection.sendall(b"POST /v2/repository/index HTTP/1.1\r\nHost: gateway\r\nContent-Length: 9\r\n\r\n{")
        assert connection.recv(12) == b"HTTP/1.1 504"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"content": b"{"}, "invalid_argument", "the body is not JSON"),
    ({"content": PHOTO}, "invalid_argument", "the body is not JSON"),
    ({"content": b"[" * 9_000}, "invalid_argument", "the body is not JSON"),
    ({"json": []}, "invalid_argument", "the body is []; expected a JSON object"),
    ({"json": {}}, "invalid_argument", "the inputs are missing; send one, 'image'"),
    ({"json": {"inputs": {}}}, "invalid_argument", "inputs is {}; expected a JSON array"),
    ({"json": {"inputs": [{}]}}, "invalid_argument", "name is missing; expected text"),
    ({"json": {"inputs": [image(PHOTO)], "id": 5}}, "invalid_argument", "id is 5; expected text"),
    ({"json": {"inputs": [image(PHOTO, shape=["1"])]}}, "invalid_argument", "expected whole numbers"),
    ({"json": {"inputs": [image(PHOTO, shape=[10**30])]}}, "invalid_argument", "photos and may hold 16"),
    ({"json": {"inputs": [image(PHOTO, shape=[2])]}}, "invalid_argument", "of shape [2] came with 1 elements"),
    ({"json": {"inputs": [image(PHOTO, parameters={})]}}, "invalid_argument", '"content_encoding": "base64"'),
    ({"json": {"inputs": [image(PHOTO, data=["ÿØÿ"])]}}, "invalid_argument", "is not base64"),
    ({"json": {"inputs": [image(PHOTO, data=[None])]}}, "invalid_argument", "holds None; expected base64, as text"),
    (
        {"json": {"inputs": [image(PHOTO, parameters={"binary_data_size": 5})]}},
        "invalid_argument",
        "send its values once",
    ),
    ({"json": {"inputs": [image(b"two balloons")]}}, "invalid_image", "expected JPEG, PNG, WebP or BMP"),
    ({"json": {"inputs": [image(b"")]}}, "invalid_image", "photo 1 of 1 is empty"),
    ({"json": {"inputs": [image(PHOTO)], "outputs": [{"name": "boxes"}]}}, "invalid_argument", "it has scores, "),
    (
        {"json": {"inputs": [image(PHOTO)], "parameters": {"binary_data_output": 1}}},
        "invalid_argument",
        "true or false",
    ),
    ({"json": {"inputs": [image(PHOTO)], "parameters": {"topk": 1}}}, "invalid_argument", "did you mean top_k?"),
    ({"json": {"inputs": [image(PHOTO)], "parameters": {"top_k": True}}}, "invalid_argument", "top_k='True'"),
    ({"json": {"inputs": [image(PHOTO)], "parameters": {"timeout": 0}}}, "invalid_argument", "microseconds"),
    (
        {"json": {"inputs": [image(PHOTO)], "parameters": {"timeout": 10**400}}},
        "invalid_argument",
        "below 2^63",
    ),
    ({"content": b"[" + b"{}," * 300_000}, "invalid_argument", "holds more than 10000 values"),
    ({"content": b"{}", "headers": {LENGTH: "3"}}, "invalid_argument", "to be 3 bytes long, and the body has 2"),
    ({"content": b"{}", "headers": {LENGTH: "x"}}, "invalid_argument", "expected how many bytes are JSON"),
    ({"content": b"{}abc", "headers": {LENGTH: "2"}}, "invalid_argument", "3 bytes behind the JSON belong to no input"),
    (
        {"json": {"inputs": [image(PHOTO, data=None, parameters={"binary_data_size": 9})]}},
        "invalid_argument",
        "binary_data_size of the input 'image' is 9, and 0 bytes are left",
    ),
    ({"content": b"{}", "headers": {"content-encoding": "gzip"}}, "unsupported_media_type", "content encoding"),
    ({"content": bytes(2_000_000)}, "too_large", "the body may have 1000000 bytes"),
]


@pytest.mark.parametrize(("asked", "kind", "said"), WRONG)
def test_what_a_caller_does_wrong_is_told(fake: FakeTriton, asked: dict[str, Any], kind: str, said: str) -> None:
    """As `error`, which the protocol's clients show, with its kind; and the next request is served."""
    with running_gateway(fake.address, max_body_bytes=1_000_000) as gateway:
        response = gateway.http.post(INFER, **asked)
        assert (response.status_code, response.json()["kind"]) == (STATUS_BY_KIND[kind], kind)
        assert said in response.json()["error"]
        assert response.json().keys() == {"error", "kind"}
        assert gateway.http.post(INFER, json={"inputs": [image(PHOTO)]}).status_code == 200
        assert gateway.service.permits.taken == 0


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v2/models/color/infer", "unknown_model"),
        ("POST", "/v2/models/colour/versions/7/infer", "unknown_model"),
        ("GET", "/v2/models/colour/versions/7/ready", "unknown_model"),
        ("GET", "/v2/models/colour/versions/7", "unknown_model"),
        ("GET", "/v2/modles", "unknown_path"),
        ("GET", "/v2/models/colour/infer", "method_not_allowed"),
        ("POST", "/v2/repository/models/colour/load", "unknown_path"),
    ],
)
def test_what_is_not_there_is_told(faked: RunningGateway, method: str, path: str, kind: str) -> None:
    """In the same words, before a body is read."""
    response = faked.http.request(method, path)
    assert (response.status_code, response.json()["kind"]) == (STATUS_BY_KIND[kind], kind)
    assert len(response.json()["error"]) > 20


def test_tritonclient_shows_what_is_wrong(faked: RunningGateway) -> None:
    """Its exception has our message, and HTTP's status."""
    with calling(faked, "http") as caller:
        with pytest.raises(InferenceServerException, match=r"^\[404\] there is no model 'color'; the models are"):
            caller.infer("color", [PHOTO])
        with pytest.raises(InferenceServerException, match="top_k is a parameter of the request"):
            caller.infer("colour", [PHOTO], [tritonclient.http.InferRequestedOutput("scores", class_count=3)])


def test_without_triton_it_is_live_and_not_ready() -> None:
    """And says when to come back."""
    with running_gateway("127.0.0.1:1") as gateway:
        assert gateway.http.get("/v2/health/live").status_code == 200
        response = gateway.http.get("/v2/health/ready")
        assert (response.status_code, response.json()["kind"]) == (503, "model_not_ready")
        assert int(response.headers["retry-after"]) >= 1
        with calling(gateway, "http") as http, calling(gateway, "grpc") as grpc:
            for caller in (http, grpc):
                assert caller.client.is_server_live()
                assert not caller.client.is_server_ready()
                assert not caller.client.is_model_ready("colour")


def test_requests_share_permits_deadlines_and_metrics(fake: FakeTriton) -> None:
    """One core: a permit taken over gRPC is one that the protocol's HTTP has not, and both are counted."""
    with running_gateway(fake.address, permits=1) as gateway, calling(gateway, "grpc") as caller:
        assert gateway.http.post(INFER, json={"inputs": [image(PHOTO)]}).status_code == 200
        fake.hangs = True
        call = caller.client.async_infer("colour", [caller.image([PHOTO])], callback=lambda result, error: None)
        eventually(lambda: fake.running == 1, within_s=5)
        refused = gateway.http.post(INFER, json={"inputs": [image(PHOTO)]})
        assert (refused.status_code, refused.json()["kind"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        call.cancel()
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=5)
        fake.hangs = True
        late = gateway.http.post(INFER, json={"inputs": [image(PHOTO)], "parameters": {"timeout": 300_000}})
        assert (late.status_code, late.json()["kind"]) == (504, "deadline_exceeded")
        assert "0.3 s passed" in late.json()["error"]
        metrics = gateway.http.get("/metrics").text
        for outcome in ("ok", "overloaded", "deadline_exceeded"):
            assert f'{{model="colour",outcome="{outcome}",transport="oip-http"}} 1.0' in metrics


def test_another_version_published_meanwhile_is_not_passed_off(fake: FakeTriton, faked: RunningGateway) -> None:
    """Who asks for a version gets that one or none."""
    asked = {"inputs": [image(PHOTO)]}
    assert faked.http.post("/v2/models/colour/versions/1/infer", json=asked).json()["model_version"] == "1"
    fake.models["colour"].version = "2"
    faked.http.get("/v1/models")
    response = faked.http.post("/v2/models/colour/versions/1/infer", json=asked)
    assert (response.status_code, response.json()["kind"]) == (404, "unknown_model")
    assert "is served in version 2" in response.json()["error"]
