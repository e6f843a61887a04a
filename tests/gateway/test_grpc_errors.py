"""Every failure over gRPC has its status, its message, and its kind beside them."""

import logging
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.grpc.errors import STATUS_BY_KIND, fitting, trailing_metadata
from tests.fake_triton import FakeTriton
from tests.gateway.oip import calling
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from vision.errors import CapacityError, Overloaded, wire_errors

PHOTO = encoded(40, 40)


def test_the_table_covers_the_tree_and_nothing_else() -> None:
    """A new kind of error without a status must not reach a caller as another one."""
    assert STATUS_BY_KIND.keys() == wire_errors().keys()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_image", "INVALID_ARGUMENT"),
        ("invalid_argument", "INVALID_ARGUMENT"),
        ("unsupported_media_type", "INVALID_ARGUMENT"),
        ("too_large", "INVALID_ARGUMENT"),
        ("unauthorized", "UNAUTHENTICATED"),
        ("forbidden", "PERMISSION_DENIED"),
        ("unknown_model", "NOT_FOUND"),
        ("unknown_path", "UNIMPLEMENTED"),
        ("method_not_allowed", "UNIMPLEMENTED"),
        ("overloaded", "RESOURCE_EXHAUSTED"),
        ("rate_limited", "RESOURCE_EXHAUSTED"),
        ("model_not_ready", "UNAVAILABLE"),
        ("backend_unavailable", "UNAVAILABLE"),
        ("deadline_exceeded", "DEADLINE_EXCEEDED"),
        ("backend_failure", "INTERNAL"),
        ("internal", "INTERNAL"),
    ],
)
def test_each_kind_has_the_status_that_is_promised(kind: str, status: str) -> None:
    """Statuses are an interface: clients and proxies decide by them whether to try again."""
    assert STATUS_BY_KIND[kind].name == status
    keys = [key for key, _ in trailing_metadata(wire_errors()[kind]("what to do"))]
    assert keys == ["jetserve-kind"] + ["retry-after"] * issubclass(wire_errors()[kind], CapacityError)


def test_another_try_is_never_told_too_soon() -> None:
    """In whole seconds, as HTTP tells it."""
    assert trailing_metadata(Overloaded("full", retry_after_s=1.2)) == (
        ("jetserve-kind", "overloaded"),
        ("retry-after", "2"),
    )


@pytest.mark.parametrize("letter", ["x", "я"])
def test_a_message_fits_into_a_header(letter: str) -> None:
    """Percent-encoded, it stays below the 8 KiB at which gRPC drops the call."""
    assert len(fitting(letter * 10_000).encode()) * (1 if letter.isascii() else 3) < 6000
    assert fitting(letter * 100) == letter * 100


def failure(gateway: RunningGateway, model: str = "colour", photo: bytes = PHOTO, **request: Any) -> grpc.RpcError:
    """What gRPC says of a request with one photo; `request` changes its fields."""
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="image", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(len(photo).to_bytes(4, "little") + photo)
    message.MergeFrom(service_pb2.ModelInferRequest(**request))
    with grpc.insecure_channel(gateway.grpc) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=20)
        return caught.value


def kind_of(error: Any) -> tuple[str, str]:
    return error.code().name, dict(error.trailing_metadata())["jetserve-kind"]


def text(value: str) -> Any:
    return service_pb2.InferParameter(string_param=value)


ASKED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "color"}, "unknown_model", "the models are: colour, spot"),
    ({"model_version": "7"}, "unknown_model", "is served in version 1, not '7'"),
    ({"photo": b"two balloons"}, "invalid_image", "expected JPEG, PNG, WebP or BMP"),
    ({"photo": b"GIF89a" + bytes(100)}, "unsupported_media_type", ""),
    ({"photo": b""}, "invalid_image", "photo 1 of 1 is empty"),
    ({"photo": PHOTO + bytes(1_001_000)}, "too_large", "may have 1000000 bytes"),
    ({"parameters": {"top_k": text("many")}}, "invalid_argument", "top_k='many'"),
    ({"parameters": {"topk": text("1")}}, "invalid_argument", "did you mean top_k?"),
    ({"parameters": {"max_detections": text("1")}}, "invalid_argument", "use top_k"),
    ({"parameters": {"timeout": text("soon")}}, "invalid_argument", "microseconds"),
    ({"outputs": [{"name": "boxes"}]}, "invalid_argument", "it has scores, label_ids, counts, labels"),
    (
        {"outputs": [{"name": "scores", "parameters": {"classification": {"int64_param": 3}}}]},
        "invalid_argument",
        "top_k is a parameter of the request",
    ),
    ({"inputs": [{"name": "image"}]}, "invalid_argument", "2 inputs and 1 raw_input_contents"),
    ({"raw_input_contents": [b""]}, "invalid_argument", "1 inputs and 2 raw_input_contents"),
]  # fmt: skip


def test_values_that_come_twice_are_refused(fake: FakeTriton) -> None:
    """Rather than one of them ignored."""
    message = service_pb2.ModelInferRequest(model_name="colour")
    message.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(PHOTO)
    message.raw_input_contents.append(len(PHOTO).to_bytes(4, "little") + PHOTO)
    with running_gateway(fake.address) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        with pytest.raises(grpc.RpcError, match="send them once"):
            infer(message, timeout=20)
        message.ClearField("raw_input_contents")
        assert infer(message, timeout=20).model_name == "colour"


@pytest.mark.parametrize(("asked", "kind", "said"), ASKED)
def test_what_a_caller_does_wrong_is_told(fake: FakeTriton, asked: dict[str, Any], kind: str, said: str) -> None:
    """With the same words as over HTTP, and the next request is served."""
    with running_gateway(fake.address, max_body_bytes=1_000_000, max_files=2) as gateway:
        error = failure(gateway, **asked)
        assert kind_of(error) == (STATUS_BY_KIND[kind].name, kind)
        assert said in error.details()
        with calling(gateway, "grpc") as caller:
            assert caller.arrays("colour", [PHOTO])["counts"].tolist() == [3]
        assert gateway.service.permits.taken == 0


INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"name": "input", "datatype": "BYTES", "shape": [1]}, "the inputs are 'input'; send one, 'image'"),
    ({"name": "image", "datatype": "UINT8", "shape": [1]}, "is 'UINT8'; send one, .* and not their pixels"),
    ({"name": "image", "datatype": "BYTES", "shape": [1, 2]}, r"has the shape \[1, 2\]"),
    ({"name": "image", "datatype": "BYTES", "shape": []}, r"has the shape \[\]"),
    ({"name": "image", "datatype": "BYTES", "shape": [0]}, r"has the shape \[0\]"),
    ({"name": "image", "datatype": "BYTES", "shape": [-1]}, r"has the shape \[-1\]"),
    ({"name": "image", "datatype": "BYTES", "shape": [3]}, "holds 3 photos and may hold 2"),
    ({"name": "image", "datatype": "BYTES", "shape": [2]}, "came with 1 elements"),
    (
        {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"shared_memory_region": text("x")}},
        "has the parameters 'shared_memory_region', which are not served",
    ),
]


@pytest.mark.parametrize(("tensor", "said"), INPUTS)
def test_an_input_that_is_no_photos_is_told_what_is(fake: FakeTriton, tensor: dict[str, Any], said: str) -> None:
    """One input, `image`, of encoded photos; here in the other of the protocol's two forms."""
    request = service_pb2.ModelInferRequest(model_name="colour", inputs=[tensor])
    request.inputs[0].contents.bytes_contents.append(PHOTO)
    with running_gateway(fake.address, max_files=2) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match=said) as caught:
            stub.ModelInfer(request, timeout=20)
        assert kind_of(caught.value) == ("INVALID_ARGUMENT", "invalid_argument")
        request.inputs[0].CopyFrom(
            service_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        )
        request.inputs[0].contents.bytes_contents.append(PHOTO)
        assert len(stub.ModelInfer(request, timeout=20).outputs) == 4


def test_a_message_far_too_large_is_refused_before_it_is_kept(fake: FakeTriton) -> None:
    """By gRPC itself, which says how much it may have; the permit is given back."""
    with running_gateway(fake.address, max_body_bytes=1_000_000, permits=1) as gateway:
        error = failure(gateway, photo=bytes(3_000_000))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in error.details()
        eventually(lambda: gateway.service.permits.taken == 0, within_s=5)


def test_bytes_that_are_no_message_are_the_callers_fault(faked: RunningGateway) -> None:
    """Of any method."""
    with grpc.insecure_channel(faked.grpc) as channel:
        for method in ("ModelInfer", "ModelReady"):
            with pytest.raises(grpc.RpcError, match="message") as caught:
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(b"\xff\xff", timeout=20)
            assert kind_of(caught.value) == ("INVALID_ARGUMENT", "invalid_argument")


def test_what_is_not_served_says_so(faked: RunningGateway) -> None:
    """Loading models is Triton's, and not the gateway's."""
    with grpc.insecure_channel(faked.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="RepositoryModelLoad is not served") as caught:
            stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="colour"), timeout=20)
        assert kind_of(caught.value) == ("UNIMPLEMENTED", "unknown_path")


@pytest.mark.parametrize(
    ("situation", "kind"),
    [("queue full", "overloaded"), ("model raised", "backend_failure"), ("unloaded", "model_not_ready")],
)
def test_how_triton_fails_is_told(fake: FakeTriton, faked: RunningGateway, situation: str, kind: str) -> None:
    """As HTTP tells it, and when to come back."""
    fake.failure = situation
    error = failure(faked)
    assert kind_of(error) == (STATUS_BY_KIND[kind].name, kind)
    assert ("retry-after" in dict(error.trailing_metadata())) == issubclass(wire_errors()[kind], CapacityError)


def test_a_triton_that_is_away_is_told() -> None:
    """At once, and when to come back."""
    with running_gateway("127.0.0.1:1") as gateway:
        error = failure(gateway)
    assert kind_of(error) == ("UNAVAILABLE", "backend_unavailable")
    assert int(dict(error.trailing_metadata())["retry-after"]) >= 1


def test_the_unforeseen_leaks_nothing_and_is_logged(
    faked: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns that it is our fault, and not what our code looks like; the gateway goes on."""

    def broken(*_: object) -> None:
        raise RuntimeError("the inside")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr("gateway.oip.inference.tensors_from_prediction", broken)
        error = failure(faked)
        patched.setattr("gateway.oip.metadata.server_ready", broken)
        with calling(faked, "grpc") as caller, pytest.raises(Exception, match="the gateway failed"):
            caller.client.is_server_ready()
    assert kind_of(error) == ("INTERNAL", "internal")
    assert "the inside" not in error.details()
    assert "the inside" in caplog.text
    with calling(faked, "grpc") as caller:
        assert caller.client.is_server_ready()
