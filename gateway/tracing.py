"""Whether requests are traced, as OpenTelemetry's own variables say; nothing of it is imported where they are not."""

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from gateway.metrics import Metrics
    from gateway.spans import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Where spans go, by OTLP over HTTP: the one as it is, below the other to /v1/traces. The first counts for more."""
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"


def endpoint(environment: Mapping[str, str] = os.environ) -> str | None:
    """Where spans go; None where requests are not traced."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return None
    return next((value for name in ENDPOINTS if (value := environment.get(name, "").strip())), None)


def problems(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What is wrong with those variables, and what would be right."""
    if (address := endpoint(environment)) is None:
        return []
    found = []
    name = next(name for name in ENDPOINTS if environment.get(name, "").strip())
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc:
        found.append(f"{name}={address!r}: expected an address of OTLP over HTTP, such as http://collector:4318")
    protocol = next((value for name in PROTOCOLS if (value := environment.get(name, "").strip())), SPOKEN)
    if protocol != SPOKEN:
        found.append(f"{PROTOCOLS[1]}={protocol!r}: expected {SPOKEN}, which collectors take on port 4318")
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        found.append(f"{name} is set and OpenTelemetry is not installed: pip install '.[tracing]', or unset it")
    return found


def tracing_from_environment(metrics: "Metrics") -> "Tracing | None":
    """What traces requests, or None."""
    if endpoint() is None:
        return None
    from gateway.spans import Tracing

    return Tracing(metrics.count_spans())
