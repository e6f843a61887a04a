"""What a server with known service times must be measured as: drawn, worked out exactly, and by formula.

Work time leaves a stall out: in it nothing is begun and nothing goes on; what had begun goes on after it. In work time
a stalling server is an ordinary queue.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Service:
    """How long one request takes once it is begun: `deterministic`, `exponential` or `lognormal`, with parameters in s.

    `lognormal:MEDIAN,SIGMA` has SIGMA as the standard deviation of the logarithm.
    """

    kind: str
    first: float
    sigma: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Service":
        """From `deterministic:0.010`, `exponential:MEAN` or `lognormal:MEDIAN,SIGMA`.

        Raises:
            ValueError: it is none of them.
        """
        kind, _, rest = text.partition(":")
        numbers = [float(number) for number in rest.split(",")]
        if len(numbers) != {"deterministic": 1, "exponential": 1, "lognormal": 2}.get(kind) or min(numbers) <= 0:
            raise ValueError(f"expected deterministic:S, exponential:MEAN or lognormal:MEDIAN,SIGMA, got {text!r}")
        return cls(kind, *numbers)

    @property
    def mean_s(self) -> float:
        return self.first * math.exp(self.sigma**2 / 2)

    def drawn(self, generator: np.random.Generator, number: int) -> Times:
        """That many service times, [n] in s; the same, however many are drawn at once."""
        if self.kind == "deterministic":
            return np.full(number, self.first)
        if self.kind == "exponential":
            return self.first * generator.standard_exponential(number)
        return self.first * np.exp(self.sigma * generator.standard_normal(number))

    def share_within(self, seconds: Times) -> Times:
        """The probability of a service time of at most each of `seconds`."""
        if self.kind == "deterministic":
            return (seconds >= self.first - 1e-12).astype(np.float64)
        if self.kind == "exponential":
            return -np.expm1(-np.maximum(seconds, 0) / self.first)
        deviations = np.log(np.maximum(seconds, 1e-300) / self.first) / self.sigma
        erf = np.frompyfunc(math.erf, 1, 1)
        return 0.5 * (1 + np.asarray(erf(deviations / math.sqrt(2)), np.float64))


@dataclass(frozen=True, slots=True)
class Stall:
    """From `begin_s` on, nothing is done for `seconds`."""

    begin_s: float = math.inf
    seconds: float = 0.0

    def work_s(self, time_s: float) -> float:
        """The work time that has passed by a time."""
        return time_s - min(max(time_s - self.begin_s, 0.0), self.seconds)

    def works_s(self, times_s: Times) -> Times:
        """The same of each of `times_s`."""
        return times_s - np.clip(times_s - self.begin_s, 0.0, self.seconds)

    def time_s(self, work_s: float) -> float:
        """When so much work time has passed; the earliest."""
        return work_s if work_s <= self.begin_s else work_s + self.seconds


@dataclass
class Queue:
    """First come, first served, by `workers` servers or by as many as there are requests (None).

    One request after the other, in the order of their arrival: Kiefer and Wolfowitz's recursion, which is exact.
    """

    service: Service
    workers: int | None
    stall: Stall = Stall()
    seed: int = 0
    _free: list[float] = field(init=False)
    _services: Iterator[float] = field(init=False)

    def __post_init__(self) -> None:
        self._free = [-math.inf] * (self.workers or 0)
        self._services = self._drawn()

    def _drawn(self) -> Iterator[float]:
        generator = np.random.default_rng(self.seed)
        while True:
            yield from self.service.drawn(generator, BLOCK).tolist()

    def served(self, arrival_s: float) -> tuple[float, float]:
        """When the request that arrives now begins to be served, and when it ends."""
        arrived = begun = self.stall.work_s(arrival_s)
        takes = next(self._services)
        if self.workers is not None:
            begun = max(arrived, self._free[0])
            heapq.heapreplace(self._free, begun + takes)
        return max(arrival_s, self.stall.time_s(begun)), self.stall.time_s(begun + takes)


def sojourns_s(queue: Queue, arrivals_s: Times) -> Times:
    """From arrival to answer of each of `arrivals_s`, [n] ascending; what the queue's own draws make of it."""
    return np.array([queue.served(arrival)[1] - arrival for arrival in arrivals_s.tolist()])


def single_sojourns_s(service_s: float, arrivals_s: Times) -> Times:
    """The same of one server whose requests all take `service_s`, in closed form (Lindley): quicker."""
    turns = np.arange(len(arrivals_s)) * service_s
    return np.asarray(np.maximum.accumulate(arrivals_s - turns) + turns + service_s - arrivals_s)


def percentiles_ms(times_s: Times, percents: tuple[float, ...] = (50, 90, 99)) -> dict[float, float]:
    """The smallest of `times_s` that `percent` of 100 do not exceed, in ms."""
    return {percent: float(np.percentile(times_s, percent, method="inverted_cdf")) * 1e3 for percent in percents}


def unlimited_percentile_ms(service: Service, stall: Stall, arrivals_s: Times, percent: float) -> float:
    """Of infinitely many servers, by formula: the mean over the arrivals of each chance to be answered in time."""
    began = stall.works_s(arrivals_s)

    def share_within(seconds: float) -> float:
        return float(np.mean(service.share_within(stall.works_s(arrivals_s + seconds) - began)))

    low, high = 0.0, 1.0
    while share_within(high) * 100 < percent:
        high *= 2
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if share_within(middle) * 100 >= percent else (middle, high)
    return high * 1e3


def poisson(rate_per_s: float, number: int, seed: int) -> Times:
    """Arrivals of a Poisson process, [n] in s."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, number))


def evenly(rate_per_s: float, seconds: float) -> Times:
    """Arrivals one like the other, [n] in s."""
    return np.arange(int(rate_per_s * seconds)) / rate_per_s
