"""Requests as OpenTelemetry's traces."""

import logging
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from gateway.settings import SettingsError, settings_from_environment
from gateway.tracing import problems
from tests.fake_triton import FakeTriton
from tests.gateway.phases import OF_TRITON, UNDIVIDED
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway, samples
from tests.gateway.streams import answer, streaming
from tests.gateway.test_grpc_load import message
from tests.local_triton import LocalTriton, require_triton
from tests.otlp import Collector, ReceivedSpan, running_collector
from tests.ports import free_ports
from tests.tiny_models import colour_contract, colour_graph, write_model

PHOTO = encoded(400, 300)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The example of W3C's recommendation: version, trace, span, and that it is recorded."""
SERVER, CLIENT = 2, 3
CALL = "inference.GRPCInferenceService/ModelInfer"
PREDICT = "POST /v1/models/{model}/predict"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield collector


@pytest.fixture
def traced(collector: Collector, fake: FakeTriton) -> Iterator[RunningGateway]:
    with running_gateway(fake.address) as gateway:
        yield gateway


def the_span(collector: Collector, name: str) -> ReceivedSpan:
    eventually(lambda: collector.named(name), within_s=5)
    [span] = collector.named(name)
    return span


def test_a_request_is_a_trace_of_its_phases(collector: Collector, traced: RunningGateway) -> None:
    """A span each, one after the other without a gap, from the beginning of the request to its end."""
    began_ns = time.time_ns()
    assert traced.predict("colour", PHOTO).status_code == 200
    ended_ns = time.time_ns()
    root = the_span(collector, PREDICT)
    assert (root.service, root.kind, root.parent, root.is_error) == ("jetserve", SERVER, "", False)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/models/{model}/predict",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "jetserve.model": "colour",
    }
    below = collector.below(root)
    names = [span.name for span in below]
    phases = [CALL if phase == "transport" else phase for phase in UNDIVIDED if phase != "total"]
    assert sorted(set(names), key=names.index) == phases
    assert began_ns <= root.begins_ns <= below[0].begins_ns + 1e6
    assert root.ends_ns <= ended_ns
    for before, after in pairwise(below):
        assert abs(after.begins_ns - before.ends_ns) <= 1000
    assert root.ends_ns - below[-1].ends_ns >= 0
    assert min(after_the_last_ns(collector, traced) for _ in range(5)) < 50e6


def after_the_last_ns(collector: Collector, traced: RunningGateway) -> int:
    """Of one more request: what its span lasts beyond that of its last phase."""
    known = {span.id for span in collector.named(PREDICT)}
    assert traced.predict("colour", PHOTO).status_code == 200
    eventually(lambda: len(collector.named(PREDICT)) > len(known), within_s=5)
    [root] = [span for span in collector.named(PREDICT) if span.id not in known]
    return root.ends_ns - collector.below(root)[-1].ends_ns


@pytest.mark.usefixtures("patient")
def test_a_call_says_what_triton_took(collector: Collector, traced: RunningGateway, fake: FakeTriton) -> None:
    """As figures: when it began to compute, Triton's own spans tell."""
    fake.delay_s, fake.queue_s, fake.compute_s = 0.02, 0.004, 0.012
    traced.predict("colour", PHOTO, x_timings="exact")
    call = the_span(collector, CALL)
    assert call.kind == CLIENT
    assert call.attributes["jetserve.replica"] == fake.address
    assert call.attributes["jetserve.queue_s"] == pytest.approx(0.004)
    assert call.attributes["jetserve.compute_s"] == pytest.approx(0.012)
    assert call.ends_ns - call.begins_ns >= 20e6
    assert OF_TRITON.isdisjoint(span.name for span in collector.spans)


def test_a_trace_goes_on_from_the_caller_to_triton(
    collector: Collector, traced: RunningGateway, fake: FakeTriton
) -> None:
    """W3C's traceparent comes in, and goes on with the span of the call; the caller's tracestate with it."""
    traced.predict("colour", PHOTO, traceparent=PARENT, tracestate="vendor=1")
    root, call = the_span(collector, PREDICT), the_span(collector, CALL)
    assert (root.trace, root.parent) == (PARENT[3:35], PARENT[36:52])
    [received] = fake.received
    assert received.metadata["traceparent"] == f"00-{root.trace}-{call.id}-01"
    assert received.metadata["tracestate"] == "vendor=1"


def test_a_caller_may_ask_for_no_trace(collector: Collector, traced: RunningGateway, fake: FakeTriton) -> None:
    """It samples for all that comes after it; Triton hears of that, too."""
    traced.predict("colour", PHOTO, traceparent=f"{PARENT[:-2]}00")
    traced.predict("spot", PHOTO)
    assert the_span(collector, PREDICT).attributes["jetserve.model"] == "spot"
    assert fake.received[0].metadata["traceparent"].endswith("-00")


def by_oip(gateway: RunningGateway) -> None:
    content = len(PHOTO).to_bytes(4, "little") + PHOTO
    header = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":%d}}]}'
    header %= len(content)
    headers = {"inference-header-content-length": str(len(header)), "traceparent": PARENT}
    assert gateway.http.post("/v2/models/colour/infer", content=header + content, headers=headers).status_code == 200


def by_grpc(gateway: RunningGateway) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(message(), timeout=20, metadata=(("traceparent", PARENT),))


def by_grpc_stream(gateway: RunningGateway) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        list(stub.ModelStreamInfer(iter([message()]), timeout=20, metadata=(("traceparent", PARENT),)))


def by_websocket(gateway: RunningGateway) -> None:
    with streaming(gateway.url, "colour", "", additional_headers={"traceparent": PARENT}) as stream:
        stream.send(PHOTO)
        answer(stream)


@pytest.mark.parametrize(
    ("ask", "name", "attributes"),
    [
        (by_oip, "POST /v2/models/{model}/infer", {"http.response.status_code": 200}),
        (by_grpc, CALL, {"rpc.system.name": "grpc", "rpc.method": CALL, "rpc.response.status_code": "OK"}),
        (by_grpc_stream, "inference.GRPCInferenceService/ModelStreamInfer", {"rpc.response.status_code": "OK"}),
        (by_websocket, "frame /v1/models/{model}/stream", {"http.route": "/v1/models/{model}/stream"}),
    ],
)
def test_every_way_in_is_traced(
    collector: Collector,
    traced: RunningGateway,
    ask: Callable[[RunningGateway], None],
    name: str,
    attributes: dict[str, object],
) -> None:
    """With its caller's trace; each frame of a stream is a request of its own."""
    ask(traced)
    roots: list[ReceivedSpan] = []

    def is_there() -> bool:
        roots[:] = [span for span in collector.named(name) if span.kind == SERVER]
        return bool(roots)

    eventually(is_there, within_s=5)
    [root] = roots
    assert (root.trace, root.parent) == (PARENT[3:35], PARENT[36:52])
    assert root.attributes.items() >= ({"jetserve.model": "colour"} | attributes).items()
    assert {"decode", "serialise", CALL, "postprocess"} <= {span.name for span in collector.below(root)}


@pytest.mark.parametrize(
    ("photo", "failure", "status", "kind", "is_error"),
    [
        (b"text", None, 422, "invalid_image", False),
        (PHOTO, "model raised", 502, "backend_failure", True),
        (PHOTO, "queue full", 429, "overloaded", False),
    ],
)
def test_a_failure_is_told_with_its_kind(
    collector: Collector,
    traced: RunningGateway,
    fake: FakeTriton,
    photo: bytes,
    failure: str | None,
    status: int,
    kind: str,
    is_error: bool,
) -> None:
    """A caller's fault is no error of the server's span."""
    fake.failure = failure
    assert traced.predict("colour", photo).status_code == status
    root = the_span(collector, PREDICT)
    assert root.is_error is is_error
    assert (root.attributes["error.type"], root.attributes["http.response.status_code"]) == (kind, status)


def test_a_collector_that_is_down_costs_no_request_anything(
    fake: FakeTriton, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Spans are dropped and counted, it is said once, and the gateway ends in time."""
    [port] = free_ports(1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    with caplog.at_level(logging.WARNING), running_gateway(fake.address) as gateway:
        took_s = []
        for _ in range(40):
            began_s = time.perf_counter()
            assert gateway.predict("colour", PHOTO).status_code == 200
            took_s.append(time.perf_counter() - began_s)
        assert statistics.median(took_s) < 1
        eventually(lambda: samples(gateway).get(("gateway_spans_total", "lost"), 0) >= 32, within_s=10)
        assert samples(gateway)["gateway_spans_total", "made"] > 400
        stopping_s = time.monotonic()
    assert time.monotonic() - stopping_s < 9
    said = [record.getMessage() for record in caplog.records if "trac" in record.getMessage()]
    assert said == ["the collector does not take traces, which are dropped; gateway_spans_total counts them"]
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_a_collector_that_does_not_answer_holds_nothing_up(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither requests, whose spans find no room after a while, nor the end of the gateway."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "7")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
        with running_gateway(fake.address) as gateway:
            began_s = time.perf_counter()
            for _ in range(20):
                assert gateway.predict("colour", PHOTO).status_code == 200
            assert time.perf_counter() - began_s < 7  # the collector has as long to answer
            stopping_s = time.monotonic()
        assert time.monotonic() - stopping_s < 6.5


def test_without_an_endpoint_nothing_is_imported(fake: FakeTriton) -> None:
    """Nor anything sent to Triton."""
    code = "import sys, gateway.app; print([m for m in sys.modules if m.startswith('opentelemetry.')])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "opentelemetry.sdk" not in ended.stdout
    with running_gateway(fake.address) as gateway:
        gateway.predict("colour", PHOTO, traceparent=PARENT)
        assert gateway.service.tracing is None
        assert "traceparent" not in fake.received[0].metadata
        assert ("gateway_spans_total", "made") not in samples(gateway)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "http://collector:4318"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "expected http/protobuf",
        ),
    ],
)
def test_what_cannot_be_traced_to_stops_the_start(
    given: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other wrong setting does."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        settings_from_environment()
    for name, value in {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"}.items():
        assert problems(given | {name: value}) == []


@pytest.mark.triton
def test_tritons_own_spans_come_below_ours(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A real Triton that was told to trace sends its own to the same collector, as parts of the gateway's call."""
    require_triton()
    triton = LocalTriton(tmp_path_factory.mktemp("traced"), "--traces", f"{collector.url}/v1/traces")
    write_model(triton.repository, "traced", colour_contract(max_batch=4), colour_graph())
    triton.start("traced")
    try:
        with running_gateway(triton.address) as gateway:
            assert gateway.predict("traced", PHOTO, traceparent=PARENT).status_code == 200
            call = the_span(collector, CALL)
            eventually(lambda: [span for span in collector.below(call) if span.service != "jetserve"], within_s=30)
    finally:
        triton.stop()
    [theirs] = [span for span in collector.below(call) if span.service != "jetserve"]
    assert call.begins_ns <= theirs.begins_ns < call.ends_ns  # it ends theirs once it has answered
    assert [span.name for span in collector.below(theirs)] == ["traced"]
