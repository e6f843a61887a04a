"""What Prometheus may ask."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import Counter, Histogram

from clients.phases import Phases
from gateway.catalogue import Catalogue
from gateway.catalogues import Catalogues
from gateway.exposition import Exposition
from gateway.gone import CallerGone
from gateway.permits import Permits
from gateway.replicas import Replicas
from gateway.tensor_path import TensorPath
from vision import __version__
from vision.errors import WireError

NO_MODEL = "-"
"""The model label of requests for models that do not exist: callers must not be able to make time series."""

BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192)


@dataclass(slots=True)
class Counted:
    """A request that is being counted; a transport that learns late which model it is for says so here."""

    model: str


class Metrics:
    """Counters, histograms and gauges."""

    def __init__(
        self, permits: Permits, catalogue: Catalogue | Catalogues, exposition: Exposition | None = None
    ) -> None:
        self._catalogue = catalogue
        self.exposition = exposition or Exposition()
        registry = self.exposition.registry
        self._requests = Counter(
            "gateway_requests",
            "Requests answered; outcome is ok, a kind of error, or caller_gone",
            ["model", "transport", "outcome"],
            registry=registry,
        )
        self._phases = Histogram(
            "gateway_phase_seconds",
            "Wall-clock time of each phase of requests answered ok, and of the whole (total)",
            ["model", "phase"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._histograms: dict[tuple[str, str], Histogram] = {}
        """Those of `_phases`, which takes as long to find one by its labels as to count with it."""
        self._tensor_path = Counter(
            "gateway_tensor_path_requests",
            "Calls to Triton, by how the pixels went: shared_memory, or grpc, in the message",
            ["model", "path"],
            registry=registry,
        )
        self._dropped = Counter(
            "gateway_frames_dropped",
            "Frames of streams that gave way to newer ones before they were worked on",
            ["model", "transport"],
            registry=registry,
        )
        self._in_flight = self.exposition.counted("gateway_requests_in_flight", "Requests being worked on")
        gauge = self.exposition.gauge
        gauge("gateway_workers", "Processes that serve", lambda: 1)
        gauge("gateway_permits", "Permits there are", lambda: permits.limit)
        gauge("gateway_permits_taken", "Permits that are taken", lambda: permits.taken)
        gauge(
            "gateway_triton_reachable",
            "1 when Triton could last be asked",
            lambda: catalogue.unavailable is None,
            together="min",
        )
        gauge("gateway_models_ready", "Models that can be asked", catalogue.ready_count, together="min")
        table = self.exposition.table
        table(
            "gateway_model_ready",
            "1 for a model that can be asked, 0 for one that Triton was told to load and that cannot",
            "model",
            catalogue.readiness,
            together="min",
        )
        table("gateway_build_info", "1, with the version of this project", "version", lambda: {__version__: 1}, "min")

    @contextmanager
    def request(self, counted: Counted, transport: str, phases: Phases) -> Iterator[None]:
        """Count the block as one request, by how it ends."""
        outcome = "ok"
        self._in_flight.inc()
        try:
            yield
        except WireError as exc:
            outcome = exc.kind
            raise
        except (CallerGone, asyncio.CancelledError):  # a server that stops hangs up, too
            outcome = "caller_gone"
            raise
        except BaseException:
            outcome = "internal"
            raise
        finally:
            self._in_flight.dec()
            label = self._label(counted.model)
            self._requests.labels(label, transport, outcome).inc()
            if outcome == "ok":
                phases.mark("respond")
                self._observe(label, phases)

    def dropped(self, model: str, transport: str) -> None:
        """Count one frame of a stream that gave way to a newer one."""
        self._dropped.labels(self._label(model), transport).inc()

    def sent(self, model: str, path: str) -> None:
        """Count a call to Triton."""
        self._tensor_path.labels(model, path).inc()

    def watch(self, replicas: Replicas) -> None:
        """Show the replicas, and the shared memory that there is for all of them."""
        replicas.show()
        gauges: dict[str, tuple[str, Callable[[TensorPath], int]]] = {
            "gateway_shared_memory_slots": ("Slots in shared memory, idle ones too", lambda tensors: tensors.slots),
            "gateway_shared_memory_retired": (
                "Pieces of shared memory that are not used any more and that Triton has yet to let go of",
                lambda tensors: tensors.retired,
            ),
            "gateway_shared_memory_bytes": ("Bytes of shared memory of all slots", lambda tensors: tensors.slot_bytes),
        }
        for name, (meaning, of) in gauges.items():
            self.exposition.gauge(name, meaning, partial(_sum, replicas, of))

    def count_spans(self) -> Callable[[str, int], None]:
        """What counts spans of traces from now on, by what became of them."""
        spans = Counter(
            "gateway_spans",
            "Spans of traces that were made, and then sent, or lost; those that are neither wait, or found no room",
            ["outcome"],
            registry=self.exposition.registry,
        )
        return lambda outcome, number: spans.labels(outcome).inc(number)

    def _label(self, model: str) -> str:
        return model if self._catalogue.knows(model) else NO_MODEL

    def _observe(self, model: str, phases: Phases) -> None:
        for phase, spent_s in (phases.seconds() | {"total": phases.total_s()}).items():
            if (histogram := self._histograms.get((model, phase))) is None:
                histogram = self._histograms[model, phase] = self._phases.labels(model, phase)
            histogram.observe(spent_s)


def _sum(replicas: Replicas, of: Callable[[TensorPath], int]) -> int:
    return sum(of(replica.tensors) for replica in replicas.all)
