"""Axes: values to places, and round numbers to write beside them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

LOG_FROM = 12.0
"""Values that differ by more than this factor are drawn by their logarithms."""


@dataclass(frozen=True)
class Scale:
    """`low` to `high` onto `begin` to `end`, in units of the drawing."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Its place; what lies outside lies on the edge."""
        low, high, value = (self._measure(each) for each in (self.low, self.high, value))
        part = (value - low) / (high - low) if high > low else 0.5
        return self.begin + min(1.0, max(0.0, part)) * (self.end - self.begin)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values inside, at most about so many."""
        if self.is_log:
            return _thinned(_decades(self.low, self.high), most)
        step = _round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _measure(self, value: float) -> float:
        return math.log(max(value, self.low / 2)) if self.is_log else value


def scale_for(
    values: Iterable[float], begin: float, end: float, *, log: bool = False, zero: bool = True, tight: bool = False
) -> Scale:
    """For all of `values`: from 0 where `zero`, by logarithms where `log` and they differ by much, to a round end.

    `tight` ends with the values.
    """
    found = [value for value in values if math.isfinite(value)]
    positive = [value for value in found if value > 0]
    if log and positive and max(positive) > LOG_FROM * min(positive):
        return Scale(min(positive) / 1.15, max(positive) * 1.15, begin, end, is_log=True)
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if high <= low:
        high = low + (abs(low) * 0.1 or 1.0)
    if tight:
        return Scale(low, high, begin, end)
    step = _round_step((high - low) / 5)
    return Scale(low if low == 0 else math.floor(low / step) * step, math.ceil(high / step - 1e-9) * step, begin, end)


def number(value: float | None) -> str:
    """Three figures, for people: `1.52 G`, `1 520`, `15.2`, `0.0152`; a dash for nothing."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g}\u202f{prefix}"
    if abs(value) >= 999.5:
        return f"{value:,.0f}".replace(",", "\u202f")
    return "0" if abs(value) < 1e-9 else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5, 10, … at or above."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def _thinned(values: list[float], most: int) -> list[float]:
    """Whole decades where there are too many."""
    if len(values) <= most + 1:
        return values
    tens = [value for value in values if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-6)]
    return tens if len(tens) >= 2 else values[::2]
