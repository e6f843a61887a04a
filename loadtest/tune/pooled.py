"""Several stages of the same thing as one."""

from collections.abc import Iterable, Sequence

from loadtest.histogram import Histogram, merged, middle_s, percentile_s
from loadtest.record import Percentiles, Stage, Summary


def pooled(stages: Sequence[Stage]) -> Stage:
    """As if they had been one; percentiles are those of histograms then, to half a percent."""
    first = stages[0]
    if len(stages) == 1:
        return first
    summaries = [stage.summary for stage in stages]
    seconds = sum(stage.seconds for stage in stages)
    latency = merged(window.latency for stage in stages for window in stage.windows)
    lateness = merged(window.lateness for stage in stages for window in stage.windows)
    due, answered = sum(each.due for each in summaries), sum(each.answered for each in summaries)
    joules = [each.joules for each in summaries if each.joules is not None]
    summary = Summary(
        due=due,
        sent=sum(each.sent for each in summaries),
        answered=answered,
        failed=_added(each.failed for each in summaries),
        due_per_s=due / seconds if seconds else 0.0,
        answered_per_s=sum(stage.summary.answered_per_s * stage.seconds for stage in stages) / seconds
        if seconds
        else 0.0,
        latency_ms=_percentiles(latency),
        lateness_ms=_percentiles(lateness),
        images=sum(each.images for each in summaries),
        joules=sum(joules) if len(joules) == len(summaries) else None,
    )
    windows = [window for stage in stages for window in stage.windows]
    models = {
        name: of.model_copy(update={"answered": answered, "failed": summary.failed, "latency_ms": summary.latency_ms})
        for name, of in first.models.items()
        if len(first.models) == 1
    }
    return first.model_copy(update={"seconds": seconds, "windows": windows, "summary": summary, "models": models})


def _added(failures: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in failures:
        for kind, count in each.items():
            total[kind] = total.get(kind, 0) + count
    return total


def _percentiles(histogram: Histogram) -> Percentiles | None:
    if not histogram:
        return None
    total = sum(histogram.values())
    mean = sum(middle_s(bucket) * count for bucket, count in histogram.items()) / total
    names = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9, "max": 100}
    of = {name: (percentile_s(histogram, percent) or 0.0) * 1e3 for name, percent in names.items()}
    return Percentiles(mean=mean * 1e3, **of)
