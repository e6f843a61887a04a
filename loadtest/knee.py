"""Where a server's throughput ends and its queue begins."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.record import Stage

SLOWER = 2.0
"""Of the p99 of the stage with the least load: beyond this, latency is mostly waiting."""
ANSWERED = 0.95
"""Of what was due: below this, the server does not keep up."""
LEAST_STAGES = 3


@dataclass(frozen=True)
class Knee:
    """The busiest stage before the server gives way; `is_end` where it did not, in any stage."""

    stage: Stage
    is_end: bool


def knee_of(stages: Sequence[Stage]) -> Knee | None:
    """Of at least three stages with different loads, in rising order; None of fewer, or where nothing was answered.

    The knee is the last stage, from the least load up and without a gap, whose p99 is below twice that of the least
    load and which was answered at least 95 % of what was due. So it depends on no curve that is fitted, and says of a
    real stage what it measured.
    """
    measured = [stage for stage in stages if stage.summary.due and stage.has_rates]
    rising = sorted(measured, key=load_of)
    if len({load_of(stage) for stage in rising}) < LEAST_STAGES:
        return None
    least = rising[0].summary.latency_ms
    if least is None:
        return None
    knee: Stage | None = None
    for stage in rising:
        found = stage.summary
        keeps_up = found.answered >= ANSWERED * found.due
        if found.latency_ms is None or not keeps_up or (knee and found.latency_ms.p99 >= SLOWER * least.p99):
            break
        knee = stage
    return None if knee is None else Knee(knee, knee is rising[-1])


def load_of(stage: Stage) -> float:
    """Users, or requests a second that were called for."""
    return float(stage.users if stage.users is not None else stage.rate_per_s or stage.summary.due_per_s)
