"""A collector of OpenTelemetry's traces: takes OTLP over HTTP, as protobuf or JSON, and keeps the spans."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class ReceivedSpan:
    """Times in nanoseconds of the clock on the wall; ids in hexadecimal, "" where there is no parent."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    begins_ns: int
    ends_ns: int
    is_error: bool
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Collector:
    """Where it listens, and what came."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: ReceivedSpan) -> list[ReceivedSpan]:
        """As they began."""
        found = [span for span in self.spans if (span.trace, span.parent) == (parent.trace, parent.id)]
        return sorted(found, key=lambda span: span.begins_ns)


@contextmanager
def running_collector() -> Iterator[Collector]:
    """On a free port, for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_json = "json" in self.headers["content-type"]
            collector.spans += spans_from_request(request_from_json(body) if is_json else request_from_bytes(body))
            self.send_response(200)
            self.send_header("content-type", self.headers["content-type"])
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def request_from_bytes(body: bytes) -> Any:
    return ExportTraceServiceRequest.FromString(body)


def request_from_json(body: bytes) -> Any:
    """OTLP has ids in hexadecimal where protobuf's own JSON has base64 (opentelemetry.io/docs/specs/otlp)."""

    def with_bytes(part: dict[str, Any]) -> dict[str, Any]:
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in part:
                part[key] = base64.b64encode(bytes.fromhex(part[key])).decode()
        return part

    content = json.loads(body, object_hook=with_bytes)
    return json_format.ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def spans_from_request(request: Any) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            service=attributes_of(resource.resource).get("service.name", ""),
            name=span.name,
            kind=span.kind,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            begins_ns=span.start_time_unix_nano,
            ends_ns=span.end_time_unix_nano,
            is_error=span.status.code == 2,  # STATUS_CODE_ERROR
            attributes=attributes_of(span),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes_of(message: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in message.attributes}
