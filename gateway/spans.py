"""Requests as OpenTelemetry's traces: a span for each request, below it one for each phase and each call to Triton."""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from clients.phases import Interval, Phases
from gateway.gone import CallerGone
from gateway.grpc.errors import STATUS_BY_KIND as GRPC_STATUS_BY_KIND
from gateway.http_errors import STATUS_BY_KIND as HTTP_STATUS_BY_KIND
from vision import __version__
from vision.errors import WireError

logger = logging.getLogger(__name__)

CLOSE_S = 2.0
"""What spans have, in the end, to be sent in."""
OF_CALLS = frozenset({"queue", "compute", "transport"})
"""Phases that are parts of a call to Triton, and none of them has a beginning that is known here."""

_HTTP = {"http.request.method": "POST", "url.scheme": "http"}
_GRPC = {"rpc.system.name": "grpc"}
_METHOD = "inference.GRPCInferenceService"
BEGINNINGS: dict[str, tuple[str, dict[str, str]]] = {
    transport: (name, attributes)
    for transport, name, attributes in (
        ("http", "POST /v1/models/{model}/predict", _HTTP | {"http.route": "/v1/models/{model}/predict"}),
        ("oip-http", "POST /v2/models/{model}/infer", _HTTP | {"http.route": "/v2/models/{model}/infer"}),
        ("websocket", "frame /v1/models/{model}/stream", {"http.route": "/v1/models/{model}/stream"}),
        ("grpc", f"{_METHOD}/ModelInfer", _GRPC | {"rpc.method": f"{_METHOD}/ModelInfer"}),
        ("grpc-stream", f"{_METHOD}/ModelStreamInfer", _GRPC | {"rpc.method": f"{_METHOD}/ModelStreamInfer"}),
    )
}
"""Name and attributes of a request's span, by OpenTelemetry's conventions for HTTP and RPC (1.40)."""
GONE = (CallerGone, asyncio.CancelledError)
CALL = f"{_METHOD}/ModelInfer"

_W3C = TraceContextTextMapPropagator()

Count = Callable[[str, int], None]
"""Is told how many spans were made, sent or lost."""


class Tracing:
    """Makes spans, and has them sent from a thread of its own; what does not get through is dropped."""

    def __init__(self, count: Count) -> None:
        self._count = count
        resource = Resource.create(_resource())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Counting(OTLPSpanExporter(), count)))
        self._tracer = self._provider.get_tracer("jetserve", __version__)

    def begun(self, transport: str, headers: Mapping[str, str]) -> "Trace":
        """The trace of a request that begins now; part of its caller's, where `headers` have a W3C `traceparent`."""
        return Trace(self._tracer, transport, _W3C.extract(headers, Context()), self._count)

    async def close(self) -> None:
        """Send what is left; a collector that does not answer is not waited for for long."""
        # A daemon, unlike the threads of executors: the process may end while it still waits.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_S)


class Trace:
    """One request's."""

    def __init__(self, tracer: Tracer, transport: str, parent: Context, count: Count) -> None:
        self._tracer, self._transport, self._count = tracer, transport, count
        self._clock_ns = time.time_ns() - time.perf_counter_ns()
        name, attributes = BEGINNINGS[transport]
        self._root = tracer.start_span(name, parent, SpanKind.SERVER, attributes, start_time=time.time_ns())
        self._context = set_span_in_context(self._root, parent)
        self._calls: list[Span] = []

    def call(self, began_s: float, address: str) -> Sequence[tuple[str, str]]:
        """Metadata for a call that begins now to Triton at that address; Triton's own spans come below the call's."""
        attributes = _GRPC | {"rpc.method": CALL, "jetserve.replica": address}
        span = self._tracer.start_span(CALL, self._context, SpanKind.CLIENT, attributes, start_time=self._ns(began_s))
        self._calls.append(span)
        metadata: dict[str, str] = {}
        _W3C.inject(metadata, set_span_in_context(span, self._context))
        return tuple(metadata.items())

    def end(self, model: str, phases: Phases, error: BaseException | None) -> None:
        """The request has ended. Its spans are made when its answer is on its way."""
        ended_s = time.perf_counter()
        asyncio.get_running_loop().call_soon(self._end, model, phases, error, ended_s)

    def _end(self, model: str, phases: Phases, error: BaseException | None, ended_s: float) -> None:
        if not self._root.is_recording():
            return
        calls, made = iter(self._calls), 1
        for is_call, group in groupby(phases.intervals(), lambda interval: interval.phase in OF_CALLS):
            parts = list(group)
            made += self._call_ended(next(calls), parts) if is_call else self._phases_ended(parts)
        self._root.set_attribute("jetserve.model", model)
        self._root.set_attributes(_outcome(self._transport, error))
        if error is not None and _is_ours(error):
            self._root.set_status(Status(StatusCode.ERROR, str(error)))
        self._root.end(self._ns(ended_s))
        self._count("made", made)

    def _phases_ended(self, parts: Sequence[Interval]) -> int:
        made = 0
        for phase, again in groupby(parts, lambda interval: interval.phase):
            intervals = list(again)
            span = self._tracer.start_span(phase, self._context, start_time=self._ns(intervals[0].began_s))
            span.end(self._ns(intervals[-1].ended_s))
            made += 1
        return made

    def _call_ended(self, span: Span, parts: Sequence[Interval]) -> int:
        for part in parts:
            span.set_attribute(f"jetserve.{part.phase}_s", round(part.ended_s - part.began_s, 6))
        span.end(self._ns(parts[-1].ended_s))
        return 1

    def _ns(self, seconds: float) -> int:
        """Of `time.perf_counter`, on the clock on the wall."""
        return self._clock_ns + round(seconds * 1e9)


class _Counting(SpanExporter):
    """Counts what was sent and what was not, and says once that it does not work, and once that it does."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self._exporter, self._count = exporter, count
        self._works = True
        for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # which say it with every batch

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        works = result is SpanExportResult.SUCCESS
        self._count("sent" if works else "lost", len(spans))
        if works != self._works:
            self._works = works
            if works:
                logger.warning("the collector takes traces now")
            else:
                logger.warning("the collector does not take traces, which are dropped; gateway_spans_total counts them")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _resource() -> dict[str, str]:
    """What this process is called; the name is the deployment's to choose, by OpenTelemetry's own variables."""
    resource = {SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}"}
    if "OTEL_SERVICE_NAME" in os.environ or SERVICE_NAME in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        return resource
    return resource | {SERVICE_NAME: "jetserve"}


def _outcome(transport: str, error: BaseException | None) -> dict[str, str | int]:
    if isinstance(error, GONE):
        return {"error.type": "caller_gone"}
    kind = error.kind if isinstance(error, WireError) else "internal"
    attributes: dict[str, str | int] = {} if error is None else {"error.type": kind}
    if transport.startswith("grpc"):
        attributes["rpc.response.status_code"] = "OK" if error is None else GRPC_STATUS_BY_KIND[kind].name
    elif transport != "websocket":
        attributes["http.response.status_code"] = 200 if error is None else HTTP_STATUS_BY_KIND[kind]
    return attributes


def _is_ours(error: BaseException) -> bool:
    """Whether the fault is on this side, which alone makes a server's span one of an error."""
    if isinstance(error, WireError):
        return HTTP_STATUS_BY_KIND[error.kind] >= 500
    return not isinstance(error, GONE)
