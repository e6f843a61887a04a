"""Thresholds for 8-bit tensors, from what a network's tensors are seen to hold."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from builder.graphs.observe import Feed, observe

STEP = "precision"
BINS = 4096
LEVELS = 127
CANDIDATES = 100


def thresholds(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    feeds: Iterable[Feed],
    *,
    on_feed: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """For each tensor the magnitude that becomes 127: what makes the mean squared error of rounding smallest.

    Two passes over the feeds: the largest magnitude, then a histogram of magnitudes up to it. What lies above the
    threshold is clipped, and that error counts as well, so outliers are given up only for a gain elsewhere.

    Raises:
        BuildError: the network makes inf or nan, or cannot be run.
    """
    largest = dict.fromkeys(tensors, 0.0)

    def measure(name: str, value: NDArray[np.float32]) -> None:
        largest[name] = max(largest[name], float(np.abs(value).max(initial=0.0)))

    observe(model, tensors, feeds, measure, step=STEP, on_feed=on_feed)
    counts = {name: np.zeros(BINS, np.int64) for name in tensors}

    def count(name: str, value: NDArray[np.float32]) -> None:
        if largest[name] > 0:
            counts[name] += np.histogram(np.abs(value), BINS, (0.0, largest[name]))[0]

    observe(model, [name for name in tensors if largest[name] > 0], feeds, count, step=STEP)
    return {name: best_threshold(counts[name], largest[name]) for name in tensors}


def best_threshold(counts: NDArray[np.int64], largest: float) -> float:
    """The threshold with the least squared error, of `CANDIDATES` from 1 % of the largest magnitude to all of it.

    `counts` are of magnitudes in equal bins from 0 to `largest`.
    """
    if largest == 0 or not counts.any():
        return 1.0  # nothing to hold: any scale does
    middles = (np.arange(len(counts)) + 0.5) / len(counts)
    tried = np.linspace(1 / CANDIDATES, 1, CANDIDATES)
    errors = [_squared_error(middles, counts, threshold) for threshold in tried]
    return float(tried[int(np.argmin(errors))]) * largest


def _squared_error(values: NDArray[np.float64], counts: NDArray[np.int64], threshold: float) -> float:
    scale = threshold / LEVELS
    rounded = np.minimum(np.rint(values / scale), LEVELS) * scale
    return float(np.dot(counts, (values - rounded) ** 2))
