"""The way in: every request, whatever carries it, is counted, takes a permit and gets its deadline here."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from clients.phases import Phases
from gateway.deadline import Deadline
from gateway.metrics import Counted
from gateway.service import Service

Transport = Literal["http", "grpc", "oip-http", "grpc-stream", "websocket"]
"""How the metrics call what a request came by."""


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admitted request carries along."""

    counted: Counted
    phases: Phases
    deadline: Deadline


@contextmanager
def admitted(
    service: Service,
    model: str,
    transport: Transport,
    caller_s: float | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Iterator[Admitted]:
    """Hold a permit for the length of the block, and count how it ends.

    `model` is "" where it only stands in what is still to be received; `counted.model` takes it then. `caller_s` is how
    long the caller waits, where it says so: the deadline is the sooner of that and the gateway's own. `headers` may say
    which trace the request is part of.

    Raises:
        Overloaded: at once, when every permit is taken.
    """
    allowed_s = service.settings.deadline_s
    deadline = Deadline(allowed_s if caller_s is None else min(allowed_s, caller_s))
    trace = None if service.tracing is None else service.tracing.begun(transport, headers)
    phases = Phases(traced=trace)
    counted = Counted(model)
    try:
        with service.metrics.request(counted, transport, phases), service.permits.one():
            yield Admitted(counted, phases, deadline)
    finally:
        if trace is not None:
            trace.end(counted.model, phases, sys.exception())
