"""What Triton counts of a model."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Counters:
    """Of one version of a model since it was loaded, whoever asked: requests that succeeded.

    Seconds are sums over requests; those of one batch each have the whole time of its execution.
    """

    requests: int
    queue_s: float
    compute_s: float
    """Putting inputs in place, the network, and taking outputs out."""
    images: int = 0
    """In those requests."""
    executions: int = 0
    """Of the model, each of a batch of them."""

    def since(self, before: "Counters") -> "Counters":
        """What was counted after `before` was; all of it where the model was loaded again meanwhile."""
        if self.requests < before.requests:
            return self
        return Counters(
            self.requests - before.requests,
            self.queue_s - before.queue_s,
            self.compute_s - before.compute_s,
            self.images - before.images,
            self.executions - before.executions,
        )

    def plus(self, other: "Counters") -> "Counters":
        """Both together, as of two Tritons."""
        return Counters(
            self.requests + other.requests,
            self.queue_s + other.queue_s,
            self.compute_s + other.compute_s,
            self.images + other.images,
            self.executions + other.executions,
        )


def counters_from_statistics(statistics: Any, images: int = 0, executions: int = 0) -> Counters:
    """Of Triton's message InferStatistics, whose times are in nanoseconds, and what its ModelStatistics counts."""
    compute_ns = statistics.compute_input.ns + statistics.compute_infer.ns + statistics.compute_output.ns
    return Counters(statistics.success.count, statistics.queue.ns / 1e9, compute_ns / 1e9, images, executions)
