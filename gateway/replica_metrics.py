"""What Prometheus may ask about replicas. A replica that has gone for good has no series any more."""

from collections.abc import Callable, Sequence
from typing import Protocol

from prometheus_client import Counter

from gateway.exposition import Exposition

LABEL = "replica"
"""Its address."""


class Watched(Protocol):
    """A replica, as far as it is shown."""

    @property
    def address(self) -> str: ...

    @property
    def is_up(self) -> bool: ...

    @property
    def requests(self) -> int: ...


class ReplicaMetrics:
    """Counters of attempts and retries, and gauges of the replicas there are."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._requests = Counter(
            "gateway_replica_requests",
            "Requests sent to each Triton, a retry counted again; outcome as in gateway_requests_total",
            [LABEL, "outcome"],
            registry=exposition.registry,
        )
        self._retries = Counter(
            "gateway_retries",
            "Requests that were sent once more, by the kind of error that the first attempt met",
            ["reason"],
            registry=exposition.registry,
        )
        self._by_outcome: dict[tuple[str, str], Counter] = {}

    def watch(self, replicas: Callable[[], Sequence[Watched]]) -> None:
        """Show the replicas that there are when somebody asks."""
        exposition = self._exposition
        exposition.known(LABEL, lambda: {replica.address for replica in replicas()})
        exposition.table(
            "gateway_replica_up",
            "1 for a Triton that could last be asked, of every worker",
            LABEL,
            lambda: {replica.address: float(replica.is_up) for replica in replicas()},
            together="min",
        )
        exposition.table(
            "gateway_replica_in_flight",
            "Requests at each Triton, those that nobody waits for any more among them",
            LABEL,
            lambda: {replica.address: float(replica.requests) for replica in replicas()},
        )

    def answered(self, address: str, outcome: str) -> None:
        """Count an attempt."""
        key = address, outcome
        if (counter := self._by_outcome.get(key)) is None:
            counter = self._by_outcome[key] = self._requests.labels(address, outcome)
        counter.inc()

    def retried(self, reason: str) -> None:
        """Count a request that is sent once more."""
        self._retries.labels(reason).inc()

    def forget(self, address: str) -> None:
        """Show this replica's counts no more."""
        for key in [key for key in self._by_outcome if key[0] == address]:
            del self._by_outcome[key]
            self._exposition.forget(self._requests, *key)
