"""Percentiles and their intervals, on data whose truth is known."""

import time
from statistics import NormalDist

import numpy as np
import pytest

from loadtest.histogram import percentile_s
from loadtest.record import Window
from loadtest.statistics import (
    Errors,
    Interval,
    Percentile,
    Quantity,
    Rate,
    Sample,
    block_length,
    interval_of,
    percentiles_of,
    student_t,
    value_of,
)
from tests.loadtest.simulated import latencies_of, pooled, quick_stage, wandering, windows_of

TRIALS = 40
SECONDS = 120
PER_SECOND = 40


def covered(percent: float, *, memory: float, trials: int = TRIALS) -> float:
    """How many of the trials' intervals have the truth in them: a level that wanders, and lognormal answers."""
    spread, wander, median_s = 0.3, 0.2, 0.02
    truth = median_s * np.exp(NormalDist(0, float(np.hypot(spread, wander))).inv_cdf(percent / 100))
    inside = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        stage = quick_stage(rng, SECONDS, PER_SECOND, median_s=median_s, spread=spread, wander=wander, memory=memory)
        interval = interval_of(Sample.of(stage.windows), Percentile(percent), draws=150)
        assert interval is not None
        inside += interval.low <= truth <= interval.high
    return inside / trials


@pytest.mark.parametrize("percent", [50, 99])
def test_intervals_cover_the_truth_of_independent_seconds(percent: float) -> None:
    """95 of 100 are promised; of these trials at least 90 %."""
    assert covered(percent, memory=0.0) >= 0.90


@pytest.mark.parametrize("percent", [50, 99])
def test_intervals_cover_the_truth_where_seconds_remember(percent: float) -> None:
    """With neighbours that correlate by 0.8, and a level that wanders by a fifth, blocks keep most of the promise.

    Two minutes are then worth some ten independent seconds, of which one or two make p99; single windows would cover
    about half.
    """
    assert covered(percent, memory=0.8) >= (0.88 if percent == 50 else 0.8)


def test_intervals_are_not_wider_than_they_need() -> None:
    """Of independent seconds, the interval of p50 is within a third of what theory has."""
    rng = np.random.default_rng(1)
    found = latencies_of(rng, 400, PER_SECOND, wander=0.0)
    interval = interval_of(Sample.of(windows_of(found)), Percentile(50))
    assert interval is not None
    theory = 2 * 1.96 * np.sqrt(np.pi / 2) * 0.3 / np.sqrt(400 * PER_SECOND)
    assert np.log(interval.high / interval.low) == pytest.approx(theory, rel=0.33)


def test_rates_and_errors_cover_their_truth() -> None:
    """Poisson arrivals of 50 a second, of which 2 % fail."""
    inside, trials = np.zeros(2), 100
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        failed, answered = rng.poisson(1, SECONDS), rng.poisson(49, SECONDS)
        windows = [
            Window(begin_s=i, seconds=1, due=f + a, sent=f + a, answered=a, failed={"timeout": f})
            for i, (f, a) in enumerate(zip(failed.tolist(), answered.tolist(), strict=True))
        ]
        truths: list[tuple[Quantity, float]] = [(Rate(), 49.0), (Errors(), 0.02)]
        for row, (quantity, truth) in enumerate(truths):
            interval = interval_of(Sample.of(windows), quantity, draws=300)
            assert interval is not None
            inside[row] += interval.low <= truth <= interval.high
    assert (inside / trials >= 0.90).all(), inside


def test_the_value_is_the_histograms() -> None:
    """To the bucket's width; rates and errors to the last digit."""
    windows = windows_of(latencies_of(np.random.default_rng(3), 30, 200), failed=2)
    sample = Sample.of(windows)
    for percent in (50, 90, 99, 99.9):
        assert value_of(sample, Percentile(percent)) == pytest.approx(percentile_s(pooled(windows), percent), rel=0.006)
    assert value_of(sample, Rate()) == 200
    assert value_of(sample, Errors()) == 2 / 202


def test_a_record_of_ten_minutes_takes_less_than_a_second() -> None:
    """Five quantities of 600 windows with latencies over three decades, a thousand draws each."""
    rng = np.random.default_rng(0)
    sample = Sample.of(windows_of(latencies_of(rng, 600, 100, spread=1.2, memory=0.7)))
    assert sample.counts.shape[1] > 500
    began = time.process_time()
    for quantity in (Percentile(50), Percentile(90), Percentile(99), Rate(), Errors()):
        assert interval_of(sample, quantity) is not None
    assert time.process_time() - began < 1.0 * 2  # of two cores


def test_the_same_seed_gives_the_same_interval() -> None:
    """And another one another."""
    sample = Sample.of(windows_of(latencies_of(np.random.default_rng(0), 60, 50)))
    first, again, other = (interval_of(sample, Percentile(90), seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_nothing_is_said_of_nothing() -> None:
    """No windows, none answered, or too few windows to know how they differ."""
    empty = [Window(begin_s=i, seconds=1, due=5, sent=5, answered=0, failed={"timeout": 5}) for i in range(20)]
    assert interval_of(Sample.of([]), Rate()) is None
    assert interval_of(Sample.of(empty), Percentile(50)) is None
    errors = interval_of(Sample.of(empty), Errors())
    assert errors is not None
    assert (errors.low, errors.value, errors.high) == (1, 1, 1)
    well = interval_of(Sample.of(windows_of(latencies_of(np.random.default_rng(0), 10, 300))), Errors())
    assert well is not None
    assert [well.low, well.value, well.high] == pytest.approx([0, 0, 0.001], rel=0.01)
    stalled = [*empty[:12], *(Window(begin_s=12 + i, seconds=1, due=5, sent=5, answered=5) for i in range(2))]
    rate = interval_of(Sample.of(stalled), Rate())  # of most draws nothing was answered: nought is its own mirror
    assert rate is not None
    assert rate.low == 0 < rate.value < rate.high
    assert interval_of(Sample.of(empty), Rate()) == Interval(0, 0, 0)
    few = windows_of(latencies_of(np.random.default_rng(0), 7, 50))
    assert interval_of(Sample.of(few), Percentile(50)) is None
    assert value_of(Sample.of(few), Percentile(50)) is not None


def test_blocks_are_as_long_as_the_memory() -> None:
    """One of independent seconds, more the longer they remember, at most a quarter of all."""
    rng = np.random.default_rng(5)
    lengths = [
        np.median([block_length(wandering(rng, 300, 1.0, memory)) for _ in range(30)]) for memory in (0, 0.5, 0.9)
    ]
    assert lengths[0] <= 4 < lengths[1] < lengths[2] <= 75
    assert block_length(np.ones(100)) == 1
    assert block_length(np.arange(100.0)) <= 25


@pytest.mark.parametrize(
    ("freedom", "truth"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (8, 2.306), (30, 2.042), (1e6, 1.960)]
)
def test_students_t(freedom: float, truth: float) -> None:
    """As the tables have it, to 2 %."""
    assert student_t(0.975, freedom) == pytest.approx(truth, rel=0.02)


def test_percentiles_are_a_census() -> None:
    """Nearest rank: of 1 to 100 ms, p50 is 50 and p99 is 99, and every one is a latency that was measured."""
    seconds = np.random.default_rng(0).permutation(np.arange(1, 101) / 1e3)
    found = percentiles_of(seconds)
    assert found is not None
    assert (found.p50, found.p90, found.p95, found.p99, found.p999, found.max) == pytest.approx(
        (50, 90, 95, 99, 100, 100)
    )
    assert found.mean == pytest.approx(50.5)
    odd = percentiles_of(np.array([1.0, 7.0]))
    assert odd is not None
    assert (odd.p50, odd.p90) == (1000, 7000)
    assert percentiles_of(np.array([])) is None
