"""When requests of an open loop are due: by the clock alone, whatever became of those before."""

import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np

Arrivals = Literal["constant", "poisson"]
AT_ONCE = 1024


def due_times(
    arrivals: Arrivals, begin_s: float, rate_per_s: float, worker: int, workers: int, seed: tuple[int, ...]
) -> Iterator[float]:
    """Without an end, from `begin_s` on: those of one of several processes, which together make the rate.

    `constant` ones of several processes interlace; `poisson` ones are Poisson in each, and so in their sum.
    """
    if arrivals == "constant":
        return (begin_s + (turn * workers + worker) / rate_per_s for turn in itertools.count())
    return _poisson(begin_s, rate_per_s / workers, np.random.default_rng([*seed, worker]))


def _poisson(begin_s: float, rate_per_s: float, random: np.random.Generator) -> Iterator[float]:
    while True:
        for gap_s in random.exponential(1 / rate_per_s, AT_ONCE).tolist():
            begin_s += gap_s
            yield begin_s
