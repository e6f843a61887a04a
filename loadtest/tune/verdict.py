"""What a search says in the end: better, and by how much, or not told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.record import Stage
from loadtest.tune.candidate import Candidate
from loadtest.tune.pooled import pooled
from loadtest.tune.score import IS_MORE_BETTER, UNIT, VALUE, Objective, Quantity, Ratio, ratio_of
from loadtest.tune.search import Found


@dataclass(frozen=True, slots=True)
class Outcome:
    """`winner` is None where what is served now stays."""

    winner: Candidate | None
    why: str
    ratios: dict[Quantity, Ratio]
    """Of the challenger to the current one, of what was measured in every turn of the duel."""


def outcome_of(found: Found, objective: Objective) -> Outcome:
    """Better is who holds the objective, as the current one does, and does more of what is preferred; or who holds it
    where the current one does not, by a difference that is no accident. All by the duel alone.
    """
    if found.challenger is None or not found.pairs:
        return Outcome(None, "nothing else could be served: nothing changed", {})
    ratios = {quantity: ratio for quantity in VALUE if (ratio := ratio_of(found.pairs, quantity)) is not None}
    now = [pair.current for pair in found.pairs]
    then = [pair.challenger for pair in found.pairs]
    if objective.holds(now) and not objective.holds(then):
        return Outcome(None, "the best of the others does not hold the objective: nothing changed", ratios)
    decides = objective.prefer if objective.holds(now) else _missed(objective, now) or objective.prefer
    if decides not in ratios:
        return Outcome(None, f"there are too few figures of {decides} to decide by: nothing changed", ratios)
    ratio = ratios[decides]
    said = told_ratio(decides, ratio)
    match ratio.says_better(IS_MORE_BETTER[decides]):
        case None:
            return Outcome(None, f"cannot be told apart from what is served now ({said}): nothing changed", ratios)
        case False:
            return Outcome(None, f"nothing is better than what is served now ({said}): nothing changed", ratios)
    return Outcome(found.challenger, f"better than what is served now: {said}", ratios)


def told_ratio(quantity: Quantity, ratio: Ratio) -> str:
    """`rate +7.1 % (95 %: +4.0 … +10.3 %)`."""
    mid, low, high = ((each - 1) * 100 for each in (ratio.value, ratio.low, ratio.high))
    return f"{quantity} {mid:+.1f} % (95 %: {low:+.1f} … {high:+.1f} %)"


def told_value(quantity: Quantity, value: float | None) -> str:
    """With its unit."""
    return "-" if value is None else f"{value:.4g}{UNIT[quantity]}"


def _missed(objective: Objective, stages: Sequence[Stage]) -> Quantity | None:
    """The quantity of the term that misses its bound the most, as far as turns are compared by it."""
    terms = [term for term in objective.slo.judge(pooled(stages)).terms if not term.held]
    for term in terms:
        if term.term.quantity == "rate":
            return "rate"
        if term.term.quantity != "errors":
            return "p99"
    return None
