"""The way in: every request, whatever carries it, is counted, takes a permit and gets its deadline here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from clients.phases import Phases
from gateway.deadline import Deadline
from gateway.metrics import Counted
from gateway.service import Service

Transport = Literal["http", "grpc", "oip-http", "grpc-stream", "websocket"]
"""How the metrics call what a request came by."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admitted request carries along."""

    counted: Counted
    phases: Phases
    deadline: Deadline


@contextmanager
def admitted(service: Service, model: str, transport: Transport, caller_s: float | None = None) -> Iterator[Admitted]:
    """Hold a permit for the length of the block, and count how it ends.

    `model` is "" where it only stands in what is still to be received; `counted.model` takes it then. `caller_s` is how
    long the caller waits, where it says so: the deadline is the sooner of that and the gateway's own.

    Raises:
        Overloaded: at once, when every permit is taken.
    """
    allowed_s = service.settings.deadline_s
    phases, deadline = Phases(), Deadline(allowed_s if caller_s is None else min(allowed_s, caller_s))
    with service.metrics.request(model, transport, phases) as counted, service.permits.one():
        yield Admitted(counted, phases, deadline)
