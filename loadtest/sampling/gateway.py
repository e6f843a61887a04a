"""What a gateway's /metrics count."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
TIMEOUT_S = 2.0
GAUGES = {
    "gateway_requests_in_flight": ("gateway.in_flight", "requests"),
    "gateway_permits_taken": ("gateway.permits_taken", "permits"),
}


@dataclass(frozen=True, slots=True)
class GatewayCounts:
    """At one moment, since the gateway began."""

    answered: Mapping[str, int] = field(default_factory=dict)
    """Well, by model."""
    requests: int = 0
    """However they ended."""
    phases: Mapping[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    """Seconds and how many, by model and phase."""
    gauges: Mapping[str, float] = field(default_factory=dict)

    def mean_ms(self, before: "GatewayCounts", model: str, phase: str) -> float | None:
        """Of those since then."""
        now_s, now = self.phases.get((model, phase), (0.0, 0))
        then_s, then = before.phases.get((model, phase), (0.0, 0))
        return (now_s - then_s) / (now - then) * 1e3 if now > then else None


class GatewayMetrics:
    """Reads them; `url` is the gateway's."""

    def __init__(self, url: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, headers=dict(headers))

    def counts(self) -> GatewayCounts | None:
        """None where nobody answers, or it is no gateway."""
        try:
            answer = self._http.get(f"{self.url}/metrics")
        except httpx.HTTPError:
            return None
        return counts_from_text(answer.text) if answer.status_code == 200 else None

    def close(self) -> None:
        self._http.close()


def counts_from_text(text: str) -> GatewayCounts | None:
    """Of Prometheus' text; None where no gateway wrote it."""
    answered: dict[str, int] = {}
    requests = 0
    phases: dict[tuple[str, str], tuple[float, int]] = {}
    gauges: dict[str, float] = {}
    is_gateway = False
    for line in text.splitlines():
        is_gateway = is_gateway or "gateway_requests" in line
        found = SAMPLE.match(line)
        if found is None:
            continue
        labels, name, value = dict(LABEL.findall(found["labels"] or "")), found["name"], float(found["value"])
        if name == "gateway_requests_total":
            requests += int(value)
            if labels["outcome"] == "ok":
                answered[labels["model"]] = answered.get(labels["model"], 0) + int(value)
        elif name in ("gateway_phase_seconds_sum", "gateway_phase_seconds_count"):
            key = labels["model"], labels["phase"]
            seconds, count = phases.get(key, (0.0, 0))
            phases[key] = (seconds + value, count) if name.endswith("sum") else (seconds, count + int(value))
        elif name in GAUGES:
            gauges[name] = value
    return GatewayCounts(answered, requests, phases, gauges) if is_gateway else None
