"""Successive halving, and a duel: measuring is passed in, and nothing but it is random once the seed is given.

Everybody is measured for a turn; the better half goes on to twice as many turns, until few are left (Jamieson and
Talwalkar 2016). Then those that differ from the best in one setting by one step have two turns each. Turns are taken in
rounds, in a new order each, so that a machine that warms up or is disturbed does it to all; what is served now takes
part in all of them. The best of the others then meets it in a duel of as many turns for both, side by side: only these
tell whether it is better, because whoever was best of many was lucky, too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadtest.record import Stage
from loadtest.tune.candidate import Candidate
from loadtest.tune.score import Objective, Pair

Measure = Callable[[Candidate], Stage | None]
"""One turn of a candidate; None where it cannot be served, or not be measured."""

FEWEST_PAIRS, PAIRS = 5, 7
LEFT = 2
"""Where halving ends: so many beside what is served now."""
NEAR_ROUNDS, MOST_NEAR = 2, 8
FEW = 3
"""Candidates that are so few leave no time for neighbours."""
SIZES = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many are tried, in rounds that double; how many beside the best of them; how many pairs of turns decide."""

    candidates: int
    pairs: int
    near: int = 0

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """How many candidates beside the current one, and how many rounds, of each rung."""
        rungs, left, rounds = [], self.candidates, 1
        while True:
            rungs.append((left, rounds))
            if left <= LEFT:
                return rungs
            left, rounds = math.ceil(left / 2), rounds * 2

    @property
    def turns(self) -> int:
        """In all."""
        near = (min(LEFT, self.candidates) + self.near + 1) * NEAR_ROUNDS if self.near else 0
        return sum((left + 1) * rounds for left, rounds in self.rungs) + near + 2 * self.pairs


def schedule_of(budget_s: float, turn_s: float, space: int) -> Schedule | None:
    """The largest that fits into the budget, where there are `space` candidates; None where none does."""
    for size in SIZES:
        candidates, pairs = min(size, space), PAIRS if size > FEW else FEWEST_PAIRS
        near = min(size // 2, MOST_NEAR) if size > FEW and candidates < space else 0
        schedule = Schedule(candidates, pairs, near)
        if schedule.turns * turn_s <= budget_s:
            return schedule
    return None


@dataclass
class Found:
    """What came of a search."""

    current: Candidate
    challenger: Candidate | None
    """The best of the others; None where no other could be served."""
    pairs: list[Pair] = field(default_factory=list)
    """Their duel: a turn of the challenger and one of the current candidate, each."""
    turns: dict[Candidate, list[Stage]] = field(default_factory=dict)
    """Of everybody, those of the duel too."""


class CannotMeasure(Exception):  # noqa: N818 - what happened
    """What is served now cannot be measured, so there is nothing to compare with."""


def search(
    current: Candidate,
    others: Sequence[Candidate],
    schedule: Schedule,
    objective: Objective,
    measure: Measure,
    seed: int,
    near: Callable[[Candidate], Sequence[Candidate]] = lambda _: (),
) -> Found:
    """Find the best of `others`, and of those `near` it, by `objective`, and how it does beside the current one.

    Raises:
        CannotMeasure: the current one was measured in vain.
    """
    random = np.random.default_rng(seed)
    found = Found(current, None)
    found.turns = {each: [] for each in (current, *others)}
    left = list(others)
    for _, rounds in schedule.rungs:
        for _ in range(rounds):
            left = _round(current, left, random, measure, found)
        left.sort(key=lambda each: objective.badness(found.turns[each]))
        rest = math.ceil(len(left) / 2)
        if len(left) <= LEFT:
            break
        left = left[:rest]
    if left and schedule.near and (new := [each for each in near(left[0]) if each not in found.turns]):
        left += new[: schedule.near]
        found.turns |= {each: [] for each in left if each not in found.turns}
        for _ in range(NEAR_ROUNDS):
            left = _round(current, left, random, measure, found)
        left.sort(key=lambda each: objective.badness(found.turns[each]))
    for candidate in left:
        if _duel(current, candidate, schedule.pairs, measure, found):
            found.challenger = candidate
            break
    return found


def _round(
    current: Candidate, left: list[Candidate], random: np.random.Generator, measure: Measure, found: Found
) -> list[Candidate]:
    """One turn for everybody; those who could take it come back."""
    order = [current, *left]
    failed = []
    for place in random.permutation(len(order)).tolist():
        candidate = order[place]
        stage = measure(candidate)
        if stage is not None:
            found.turns[candidate].append(stage)
        elif candidate == current:
            raise CannotMeasure(f"what is served now ({current}) could not be measured")
        else:
            failed.append(candidate)
            found.turns.pop(candidate)
    return [each for each in left if each not in failed]


def _duel(current: Candidate, candidate: Candidate, pairs: int, measure: Measure, found: Found) -> bool:
    """Turns as ABBA, so that a drift is neither's; whether the candidate could take them."""
    found.pairs = []
    for number in range(pairs):
        turns: dict[Candidate, Stage] = {}
        for each in (current, candidate) if number % 2 == 0 else (candidate, current):
            stage = measure(each)
            if stage is not None:
                found.turns[each].append(stage)
                turns[each] = stage
            elif each == current:
                raise CannotMeasure(f"what is served now ({current}) could not be measured")
            else:
                return False
        found.pairs.append(Pair(turns[candidate], turns[current]))
    return True
