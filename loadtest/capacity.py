"""The highest rate that an objective holds at, found by doubling and then halving the distance: measuring is passed in.

A look at a rate is one run of the load at it. Looks are noisy: one that breaks the objective is believed when another
agrees, or when the server plainly fell behind; one that holds it narrowly is looked at again as well.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Verdict = Literal["held", "broken", "limited"]

BRACKET = 0.05
"""Between the highest rate that held and the lowest that did not, as a share of the former: close enough."""
LOOKS = 3
"""At one rate at most; two that agree decide."""
LOOKS_AT_END = 5
"""At each of the two rates that are the answer, where looks contradict each other: a majority decides."""
LEAST_PER_S, MOST_PER_S = 0.1, 1e5


@dataclass(frozen=True, slots=True)
class Judged:
    """One look in the light of the objective."""

    held: bool
    clear: bool = False
    """Of a look that held: the whole interval of each figure does. Of one that did not: the server fell behind, far."""
    limited: bool = False
    """The generator did not send what was due, and the server answered what came: this says nothing of the server."""


@dataclass(frozen=True, slots=True)
class Capacity(Generic[T]):
    """What was found."""

    rate_per_s: float | None
    """The highest that held; None where none did."""
    above_per_s: float | None
    """The lowest that did not hold, or could not be sent; None where `most_per_s` held."""
    limited: bool
    """`above_per_s` is what the generator could not send: the server may do more than `rate_per_s`."""
    looks: list[tuple[float, T]]
    """All of them, in their order."""


@dataclass
class Search(Generic[T]):
    """One search; `run` does it, `done` is called with each look."""

    measure: Callable[[float], T]
    judge: Callable[[T], Judged]
    start_per_s: float
    most_per_s: float = MOST_PER_S
    least_per_s: float = LEAST_PER_S
    bracket: float = BRACKET
    _looks: list[tuple[float, T]] = field(default_factory=list)
    _held: list[float] = field(default_factory=list)
    _broken: dict[float, bool] = field(default_factory=dict)
    """Whether the generator was the reason, by rate."""

    def run(self) -> Capacity[T]:
        """Look until the two rates are close, and have been looked at once more each, with the same verdict."""
        rate: float | None = self.start_per_s
        while rate is not None:
            self._look(rate)
            rate = self._next()
        low, above = self._low(), self._above()
        return Capacity(low, above, above is not None and self._broken[above], self._looks)

    def _low(self) -> float | None:
        above = self._above()
        return max((rate for rate in self._held if above is None or rate < above), default=None)

    def _above(self) -> float | None:
        return min(self._broken, default=None)

    def _next(self) -> float | None:
        low, above = self._low(), self._above()
        if low is None:
            half = min(self._broken) / 2
            return half if half >= self.least_per_s else None
        if above is None:
            return min(low * 2, self.most_per_s) if low < self.most_per_s else None
        if above / low > 1 + self.bracket:
            return math.sqrt(low * above)
        # A verdict by luck alone would be the answer: both ends are looked at once more.
        return next((rate for rate in (low, above) if self._is_doubtful(rate)), None)

    def _is_doubtful(self, rate: float) -> bool:
        judged = self._judged(rate)
        if self._broken.get(rate) or (not judged[-1].held and judged[-1].clear):
            return False
        return len(judged) < (2 if all(each.held for each in judged) else LOOKS)

    def _judged(self, rate: float) -> list[Judged]:
        return [self.judge(look) for at, look in self._looks if at == rate]

    def _look(self, rate: float) -> None:
        """Look until it is decided whether `rate` holds."""
        is_rising, judged = not self._broken, self._judged(rate)
        most = LOOKS_AT_END if judged else LOOKS
        while True:
            look = self.measure(rate)
            self._looks.append((rate, look))
            judged.append(self.judge(look))
            verdict = decided(judged, most, is_rising=is_rising)
            if verdict is not None:
                break
        self._held = [held for held in self._held if held != rate]
        self._broken.pop(rate, None)
        if verdict == "held":
            self._held.append(rate)
        else:
            self._broken[rate] = verdict == "limited"


def decided(judged: Sequence[Judged], most: int = LOOKS, *, is_rising: bool = False) -> Verdict | None:
    """What several looks at one rate, of `most` that there may be, say together; None: look again.

    On the way up (`is_rising`) a look that holds is enough: rates above it are tried anyhow.
    """
    last = judged[-1]
    if not last.held and last.clear:
        return "broken"
    held = sum(each.held for each in judged)
    broken = len(judged) - held
    if broken == 0 and (last.clear or is_rising):
        return "held"
    if abs(held - broken) >= 2 or max(held, broken) * 2 > most:
        if held > broken:
            return "held"
        return "limited" if 2 * sum(each.limited for each in judged) >= broken else "broken"
    return None


def told(found: Capacity[T], unit: str = "requests/s") -> str:
    """In words, for a person."""
    if found.rate_per_s is None:
        tried = min((rate for rate, _ in found.looks), default=0.0)
        why = "the generator could not send" if found.limited else "the objective does not hold at"
        return f"none: {why} even {tried:.3g} {unit}"
    if found.above_per_s is None:
        return f"at least {found.rate_per_s:.4g} {unit}: nothing higher was tried"
    if found.limited:
        return (
            f"at least {found.rate_per_s:.4g} {unit}: the generator could not send {found.above_per_s:.4g};"
            " give it more processors, or another machine"
        )
    return f"{found.rate_per_s:.4g} {unit}: {found.above_per_s:.4g} does not hold"
