"""Latencies counted in buckets that are each 1 % wider than the one before: small, mergeable, good for percentiles."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

LEAST_S = 1e-5
"""The lower end of bucket 0, which takes everything below it, too."""
GROWTH = 1.01
LAST = math.ceil(math.log(3600 / LEAST_S) / math.log(GROWTH))
"""The bucket of an hour, which takes everything above it, too."""

Histogram = dict[int, int]
"""Counts by bucket; buckets without any are left out."""


def buckets_of(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bucket of each of `seconds`, [n] float64 in s → [n] int64."""
    at_least = np.maximum(seconds, LEAST_S)
    return np.clip(np.log(at_least / LEAST_S) / math.log(GROWTH), 0, LAST).astype(np.int64)


def histogram_of(seconds: NDArray[np.float64]) -> Histogram:
    """Of `seconds`, [n] float64 in s."""
    buckets, counts = np.unique(buckets_of(np.asarray(seconds, np.float64)), return_counts=True)
    return dict(zip(buckets.tolist(), counts.tolist(), strict=True))


def merged(histograms: Iterable[Mapping[int, int]]) -> Histogram:
    """Their sum."""
    total: Histogram = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def middle_s(bucket: int) -> float:
    """The geometric middle of a bucket, in s: at most 0.5 % from anything in it."""
    return float(LEAST_S * GROWTH ** (bucket + 0.5))


def percentile_s(histogram: Mapping[int, int], percent: float) -> float | None:
    """The latency that `percent` of 100 do not exceed, in s, to 0.5 %; None of an empty histogram."""
    total = sum(histogram.values())
    if not total:
        return None
    rank, seen = max(1, math.ceil(total * percent / 100)), 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return middle_s(bucket)
    raise AssertionError("a histogram's counts add up to their total")
