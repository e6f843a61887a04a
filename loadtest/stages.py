"""From samples to the stages of a record: windows, percentiles, figures by model."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loadtest.histogram import histogram_of
from loadtest.record import OfModel, Percentiles, Stage, Summary, Window
from loadtest.samples import OK, Samples
from loadtest.timetable import Entry

RANKS = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9}


def stage_from_samples(
    entry: Entry, samples: Samples, began_s: float, until_s: float, window_s: float, *, counts: bool = True
) -> Stage:
    """Of the requests that were due while `entry` held; times are `time.monotonic`, `began_s` is the record's."""
    end_s = until_s if entry.end_s is None else min(entry.end_s, until_s)
    end_s = max(end_s, entry.begin_s)
    mine = samples.in_time(entry.begin_s, end_s)
    return Stage(
        name=entry.name,
        users=entry.users,
        rate_per_s=entry.rate_per_s,
        begin_s=max(0.0, entry.begin_s - began_s),
        seconds=end_s - entry.begin_s,
        counts=counts,
        windows=windows_of(mine, entry.begin_s, end_s, window_s, began_s),
        summary=summary_of(mine, end_s - entry.begin_s),
        models={model: of_model(mine.where(mine.of_model(model))) for model in models_of(mine)},
    )


def windows_of(samples: Samples, begin_s: float, end_s: float, window_s: float, began_s: float) -> list[Window]:
    """Of those due from `begin_s` to `end_s`; the last may be shorter."""
    count = math.ceil((end_s - begin_s) / window_s - 1e-6)
    rows, well = samples.rows, samples.are(OK)
    place = ((rows["due_s"] - begin_s) / window_s).astype(np.int64)
    order = np.argsort(place, kind="stable")
    cuts = np.searchsorted(place[order], np.arange(count + 1))
    busy = in_flight(samples, begin_s, end_s, window_s, count)
    windows = []
    for number in range(count):
        chosen = order[cuts[number] : cuts[number + 1]]
        within, good = rows[chosen], well[chosen]
        since_s = begin_s + number * window_s
        windows.append(
            Window(
                begin_s=max(0.0, since_s - began_s),
                seconds=min(window_s, end_s - since_s),
                due=len(within),
                sent=int(np.isfinite(within["sent_s"]).sum()),
                answered=int(good.sum()),
                failed=failures_of(samples.where(chosen)),  # type: ignore[arg-type]  # places choose as well
                latency=histogram_of((within["ended_s"] - within["due_s"])[good]),
                lateness=histogram_of(lateness_s(within)),
                in_flight=round(float(busy[number]), 3),
            )
        )
    return windows


def in_flight(samples: Samples, begin_s: float, end_s: float, window_s: float, count: int) -> NDArray[np.float64]:
    """[count], the mean number of requests under way in each window, of those that were due in all of them."""
    sent = samples.rows[np.isfinite(samples.rows["sent_s"])]
    ended_s = np.where(np.isfinite(sent["ended_s"]), sent["ended_s"], end_s)
    # The time that all have spent since they were sent, up to each edge: its differences are what fell between two.
    edges_s = np.minimum(begin_s + window_s * np.arange(count + 1), end_s)
    spent_s = _sum_up_to(edges_s, sent["sent_s"]) - _sum_up_to(edges_s, ended_s)
    return np.asarray(np.diff(spent_s) / np.maximum(np.diff(edges_s), 1e-9))


def _sum_up_to(edges_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of max(0, edge - time) over the times, for each edge."""
    ordered = np.sort(times_s)
    sums = np.concatenate([[0.0], np.cumsum(ordered - edges_s[0])]) if len(ordered) else np.zeros(1)
    before = np.searchsorted(ordered, edges_s)
    return np.asarray(before * (edges_s - edges_s[0]) - sums[before])


def summary_of(samples: Samples, seconds: float) -> Summary:
    rows, well = samples.rows, samples.are(OK)
    due, answered = len(rows), int(well.sum())
    return Summary(
        due=due,
        sent=int(np.isfinite(rows["sent_s"]).sum()),
        answered=answered,
        failed=failures_of(samples),
        due_per_s=due / seconds if seconds else 0.0,
        answered_per_s=answered / seconds if seconds else 0.0,
        latency_ms=percentiles_of((rows["ended_s"] - rows["due_s"])[well]),
        lateness_ms=percentiles_of(lateness_s(rows)),
        images=int(rows["images"][well].sum()),
    )


def of_model(samples: Samples) -> OfModel:
    """A model's, without what servers say."""
    well = samples.are(OK)
    phases = samples.rows["phases_ms"][well]
    means = {}
    for number, phase in enumerate(samples.phases[: phases.shape[1]]):
        column = phases[:, number]
        if (known := np.isfinite(column)).any():
            means[phase] = round(float(column[known].mean()), 4)
    return OfModel(
        answered=int(well.sum()),
        failed=failures_of(samples),
        latency_ms=percentiles_of((samples.rows["ended_s"] - samples.rows["due_s"])[well]),
        phases_ms=means,
    )


def models_of(samples: Samples) -> list[str]:
    return [samples.models[number] for number in np.unique(samples.rows["model"])]


def failures_of(samples: Samples) -> dict[str, int]:
    """By kind."""
    numbers, counts = np.unique(samples.rows["outcome"], return_counts=True)
    failed = {samples.outcomes[number]: int(count) for number, count in zip(numbers, counts, strict=True)}
    failed.pop(OK, None)
    return failed


def lateness_s(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Of those sent."""
    late = rows["sent_s"] - rows["due_s"]
    return np.asarray(late[np.isfinite(late)])


def percentiles_of(seconds: NDArray[np.float64]) -> Percentiles | None:
    """In ms; of none there are none. A percentile is one that was measured: the nearest rank, as in histograms."""
    if not len(seconds):
        return None
    ms = np.sort(seconds) * 1e3
    ranks = {name: float(ms[max(0, math.ceil(len(ms) * rank / 100) - 1)]) for name, rank in RANKS.items()}
    figures = ranks | {"mean": float(ms.mean()), "max": float(ms[-1])}
    return Percentiles(**{name: round(value, 4) for name, value in figures.items()})


def answered_ok(stages: Sequence[Stage]) -> int:
    return sum(stage.summary.answered for stage in stages)


def uncertain(failed: Mapping[str, int]) -> int:
    """Failures of which the server may think otherwise: it answered, but nobody heard it, or it was wrong."""
    told = ("timeout", "connection", "wrong_answer", "unanswered")
    return sum(count for kind, count in failed.items() if kind in told)
