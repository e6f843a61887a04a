"""Percentiles, and how sure they are: intervals by bootstrap over windows.

Neighbouring seconds are not independent (a queue that is long now is long a second later), so windows are drawn in
blocks that follow one another (Künsch 1989; circular, Politis and Romano 1992), each quantity in blocks as long as its
own memory asks for: Politis and White 2004, with the correction of Patton, Politis and White 2009. Percentile intervals
are widened for few blocks as Hesterberg 2015 does ("expanded": Student's t in place of the normal); of latencies and
rates, the interval takes in its own mirror image about the value, on the scale of ratios, because which side the long
tail is on cannot be told from few blocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from loadtest.histogram import GROWTH, LEAST_S
from loadtest.record import Percentiles, Window

Floats = NDArray[np.float64]

DRAWS = 1000
LEVEL = 0.95
LEAST_WINDOWS = 8
"""Fewer tell nothing about how much they differ."""
SEED = 8
NORMAL = NormalDist()


def percentiles_of(seconds: Floats) -> Percentiles | None:
    """Of every latency there was, [n] float64 in s; None of none.

    A census: no sample is left out, thinned or smoothed, and each percentile is a latency that somebody had, the
    one at rank ⌈n·p/100⌉ in rising order (nearest rank), so that p percent of all are not above it.
    """
    if not len(seconds):
        return None
    ms = np.asarray(seconds, np.float64) * 1e3
    at = np.percentile(ms, [50, 90, 95, 99, 99.9], method="inverted_cdf").tolist()
    names = ("p50", "p90", "p95", "p99", "p999")
    return Percentiles(mean=float(ms.mean()), max=float(ms.max()), **dict(zip(names, at, strict=True)))


@dataclass(frozen=True)
class Interval:
    """What was measured, and where it would lie in `level` of all such runs."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Sample:
    """Windows as arrays, [windows] each and [windows, buckets], float64; `buckets` rises, and has no empty one."""

    seconds: Floats
    answered: Floats
    failed: Floats
    buckets: Floats
    counts: Floats

    @classmethod
    def of(cls, windows: Sequence[Window], of: str = "latency") -> Self:
        """Of one stage or several; `of` names the histogram, `latency` or `lateness`."""
        histograms = [getattr(window, of) for window in windows]
        buckets = sorted({bucket for histogram in histograms for bucket in histogram})
        place = {bucket: column for column, bucket in enumerate(buckets)}
        counts = np.zeros((len(windows), len(buckets)))
        for row, histogram in enumerate(histograms):
            counts[row, [place[bucket] for bucket in histogram]] = list(histogram.values())
        figures = [(window.seconds, window.answered, sum(window.failed.values())) for window in windows]
        seconds, answered, failed = np.array(figures, np.float64).reshape(-1, 3).T
        return cls(seconds, answered, failed, np.array(buckets, np.float64), counts)

    def __len__(self) -> int:
        return len(self.seconds)

    @cached_property
    def whole(self) -> Floats:
        """One weight of 1 for every window, [1, windows]."""
        return np.ones((1, len(self)))


@dataclass(frozen=True)
class Percentile:
    """In s, to 1 %: the latency that `percent` of the answers do not exceed; NaN where there are none."""

    percent: float

    @property
    def beside(self) -> tuple["Percentile", ...]:
        """Whose memory counts, too: what is seldom shows its own too seldom."""
        return (Percentile(50),)

    def of(self, sample: Sample, weights: Floats) -> Floats:
        """With each window taken as often as `weights` say, [draws, windows] → [draws]."""
        pooled = weights @ sample.counts
        below = np.cumsum(pooled, axis=1)
        if not below.shape[1]:
            return np.full(len(weights), np.nan)
        rank = np.maximum(1, np.ceil(below[:, -1] * self.percent / 100))
        column = np.minimum((below < rank[:, None]).sum(axis=1), below.shape[1] - 1)
        rows = np.arange(len(weights))
        inside = pooled[rows, column]
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction = np.where(inside > 0, (rank - (below[rows, column] - inside)) / inside, np.nan)
        return np.asarray(LEAST_S * GROWTH ** (sample.buckets[column] + fraction))

    def memory(self, sample: Sample) -> Floats:
        """What each window adds to the error of the percentile: how many more are above it than should be."""
        above = sample.counts[:, _upper_s(sample.buckets) > self.of(sample, sample.whole)[0]].sum(axis=1)
        return np.asarray(above - sample.counts.sum(axis=1) * (1 - self.percent / 100))


@dataclass(frozen=True)
class Rate:
    """Answers a second."""

    beside = ()

    def of(self, sample: Sample, weights: Floats) -> Floats:
        return np.asarray((weights @ sample.answered) / (weights @ sample.seconds))

    def memory(self, sample: Sample) -> Floats:
        return np.asarray(sample.answered / sample.seconds)


@dataclass(frozen=True)
class Errors:
    """The part of all requests that failed, 0 to 1; NaN where there were none."""

    beside = ()

    def of(self, sample: Sample, weights: Floats) -> Floats:
        failed, answered = weights @ sample.failed, weights @ sample.answered
        with np.errstate(invalid="ignore"):
            return np.asarray(failed / (failed + answered))

    def memory(self, sample: Sample) -> Floats:
        ratio = self.of(sample, sample.whole)[0]
        return np.asarray(sample.failed - ratio * (sample.failed + sample.answered))


Quantity = Percentile | Rate | Errors


def value_of(sample: Sample, quantity: Quantity) -> float | None:
    """Over all windows; None where nothing was answered, or asked."""
    found = float(quantity.of(sample, sample.whole)[0]) if len(sample) else math.nan
    return found if math.isfinite(found) else None


def draws_of(sample: Sample, quantity: Quantity, *, draws: int = DRAWS, seed: int = SEED) -> tuple[Floats, int]:
    """What other runs like this one could have shown, [≤ draws], and the blocks' length in windows."""
    length = max(block_length(each.memory(sample)) for each in (quantity, *quantity.beside))
    found = quantity.of(sample, _weights(len(sample), length, draws, seed))
    return found[np.isfinite(found)], length


def interval_of(
    sample: Sample, quantity: Quantity, *, level: float = LEVEL, draws: int = DRAWS, seed: int = SEED
) -> Interval | None:
    """None where nothing was measured, or in fewer than eight windows."""
    value = value_of(sample, quantity)
    if value is None or len(sample) < LEAST_WINDOWS:
        return None
    found, length = draws_of(sample, quantity, draws=draws, seed=seed)
    blocks = max(2.0, len(sample) / length)
    tail = NORMAL.cdf(-math.sqrt(blocks / (blocks - 1)) * student_t(1 - (1 - level) / 2, blocks - 1))
    low, high = np.quantile(found, [tail, 1 - tail]).tolist()
    if isinstance(quantity, Errors):
        if not value:
            high = min(1.0, -math.log(1 - level) / sample.answered.sum())  # of none in n, 3/n: Hanley and Lippman-Hand
        return Interval(low, value, high)
    mirrored_low, mirrored_high = (value**2 / bound if bound > 0 else bound for bound in (high, low))
    return Interval(min(low, mirrored_low), value, max(high, mirrored_high))


def block_length(series: Floats) -> int:
    """How many neighbours to draw together, 1 to a quarter of `series`, [n] float64."""
    n = len(series)
    centred = series - series.mean()
    if n < LEAST_WINDOWS or not np.any(centred):
        return 1
    longest = max(1, n // 4)
    spectrum = np.fft.rfft(centred, 2 * n)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[:n] / n
    significant = np.abs(covariance[1:] / covariance[0]) > 2 * math.sqrt(math.log10(n) / n)
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    ends = [m for m in range(longest) if not significant[m : m + quiet].any()]
    span = min(2 * max(1, ends[0] if ends else longest), n - 1)
    lags = np.arange(1, span + 1)
    taper = np.minimum(1, 2 * (1 - lags / span))
    slope = 2 * float((taper * lags * covariance[lags]).sum())
    spectrum_at_0 = float(covariance[0] + 2 * (taper * covariance[lags]).sum())
    if spectrum_at_0 <= 0:
        return 1
    best = (2 * slope**2 / (4 / 3 * spectrum_at_0**2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(math.ceil(best), 1, longest))


def student_t(probability: float, freedom: float) -> float:
    """Quantile of Student's t by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5): to 2 % from 3 on.

    With 1 and 2 degrees of freedom by their own formulas; between, the lower.
    """
    if freedom < 2:
        return math.tan(math.pi * (probability - 0.5))
    if freedom < 3:
        spread = 2 * probability - 1
        return spread * math.sqrt(2 / (1 - spread**2))
    z = NORMAL.inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _weights(windows: int, length: int, draws: int, seed: int) -> Floats:
    """How often each window is drawn, [draws, windows]: whole blocks, round the end, as many windows as there are."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(windows, size=(draws, math.ceil(windows / length), 1))
    drawn = ((starts + np.arange(length)) % windows).reshape(draws, -1)[:, :windows]
    flat = (drawn + np.arange(draws)[:, None] * windows).ravel()
    return np.bincount(flat, minlength=draws * windows).reshape(draws, windows).astype(np.float64)


def _upper_s(buckets: Floats) -> Floats:
    return np.asarray(LEAST_S * GROWTH ** (buckets + 1))
