"""Why the figures of a run are not to be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.plan import Limits, Plan
from loadtest.record import Stage

CHANCE = 5
"""Standard deviations of Poisson's, by which the number of its arrivals may differ from the rate's."""


@dataclass(frozen=True, slots=True)
class Told:
    """What servers counted of a run's models, beside what came back from them."""

    who: str
    """`the gateway`, `Triton`."""
    answered: int
    """By their count, from before the first request until after the last."""
    came: int
    """Answered well, as the generator saw it, warm-up and all."""
    uncertain: int
    """Requests that they may have answered, and that were no answer here: timeouts, lost connections, wrong answers."""

    def problem(self) -> str | None:
        """Why both cannot be right of the same requests."""
        if self.answered < self.came:
            return (
                f"counts differ: {self.came} answers came, and {self.who} counted {self.answered}:"
                " was it restarted, or is there another one beside it?"
            )
        extra = self.answered - self.came - self.uncertain
        if extra > 0:
            return (
                f"counts differ: {self.who} answered {self.answered} requests and {self.came} answers came:"
                f" {extra} were somebody else's, whose load is in these figures"
            )
        return None


@dataclass
class Events:
    """What happened to the run, as whoever watched it saw it; each is a reason."""

    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)


def problems_of_stage(stage: Stage, plan: Plan, busiest_cores: Sequence[float]) -> list[str]:
    """`busiest_cores` are those of the generator's busiest process, over the stage."""
    summary, limits = stage.summary, plan.limits
    problems = []
    busy = sum(busiest_cores) / len(busiest_cores) if busiest_cores else 0.0
    if busy > limits.generator_cpu:
        problems.append(
            f"{stage.name}: the generator was saturated: a process of it used {busy:.0%} of a core"
            f" (limit {limits.generator_cpu:.0%}); give it more with --processes, or another machine"
        )
    if stage.rate_per_s is not None:
        problems += _of_open_loop(stage, limits, plan.arrivals)
    failed = sum(summary.failed.values())
    # Steps go on until a server fails: that is their result.
    if plan.steps is None and summary.due and failed >= limits.failed * summary.due:
        kinds = ", ".join(
            f"{kind} {count}" for kind, count in sorted(summary.failed.items(), key=lambda item: -item[1])
        )
        problems.append(f"{stage.name}: {failed} of {summary.due} requests failed: {kinds}")
    if not summary.due and stage.seconds:
        problems.append(f"{stage.name}: no request was due or sent")
    return problems


def problem_of_throttling(throttled: Mapping[str, int]) -> list[str]:
    """`throttled` are samples by reason."""
    if not throttled:
        return []
    reasons = ", ".join(f"{reason} in {count} samples" for reason, count in throttled.items())
    return [f"the device throttled: {reasons}; cool it, or choose a lower power mode"]


def _of_open_loop(stage: Stage, limits: Limits, arrivals: str) -> list[str]:
    summary, problems = stage.summary, []
    wanted = round((stage.rate_per_s or 0) * stage.seconds)
    not_sent = summary.failed.get("not_sent", 0)
    if arrivals == "poisson" and abs(summary.due - wanted) <= CHANCE * wanted**0.5:
        wanted = summary.due
    if summary.sent < limits.sent * wanted:
        why = f", {not_sent} for want of room (max_in_flight)" if not_sent else ""
        problems.append(
            f"{stage.name}: {summary.sent} of {wanted} requests were sent"
            f" ({summary.sent / stage.seconds:.1f}/s instead of {stage.rate_per_s:g}/s){why}"
        )
    late, latency = summary.lateness_ms, summary.latency_ms
    if late is not None:
        limit_ms = max(limits.lateness_p99_ms, limits.lateness_share * (latency.p50 if latency else 0.0))
        if late.p99 > limit_ms:
            problems.append(
                f"{stage.name}: the generator was late: p99 {late.p99:.1f} ms after a request was due"
                f" (limit {limit_ms:.1f} ms), which is in the latencies"
            )
    return problems
