"""Service level objectives: `p99<50ms,errors<0.1%,rate>=60,p99(balloon)<80ms`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from loadtest.record import OfModel, Record, Stage

LATENCIES = {name: name.replace(".", "") for name in ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")}
"""And the field of `Percentiles`."""
IN_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
EXAMPLE = "p99<50ms,errors<0.1%,rate>=60"

QUANTITY = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z0-9.]*)\s*(?:\(\s*(?P<model>[^()]*?)\s*\))?\s*")
RELATION = re.compile(r"<=|>=|<|>")
BOUND = re.compile(r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>\S*)\s*")


class SloError(ValueError):
    """An objective that cannot be read; the message shows where, and says what was expected."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        super().__init__(f"the objective cannot be read: expected {expected}\n  {text}\n  {' ' * at}^")


@dataclass(frozen=True)
class Term:
    """One of them. `bound` is in ms of a latency, a part of 1 of errors, 1/s of a rate, whatever `unit` it came in."""

    quantity: str
    model: str | None
    relation: str
    bound: float
    number: str
    """As it was written."""
    unit: str

    def __str__(self) -> str:
        of = "" if self.model is None else f"({self.model})"
        return f"{self.quantity}{of}{self.relation}{self.number}{self.unit}"

    def judge(self, stage: Stage) -> "TermVerdict":
        """What was not measured does not hold."""
        measured = self._measured(stage)
        held = measured is not None and RELATIONS[self.relation](measured, self.bound)
        return TermVerdict(self, measured, held)

    def _measured(self, stage: Stage) -> float | None:
        of: Any = stage.summary if self.model is None else stage.models.get(self.model)
        if of is None:
            return None
        if self.quantity == "rate":
            return of.answered / stage.seconds if isinstance(of, OfModel) and stage.seconds else _rate(stage)
        failed = sum(of.failed.values())
        if self.quantity == "errors":
            return failed / (failed + of.answered) if failed + of.answered else None
        return None if of.latency_ms is None else float(getattr(of.latency_ms, LATENCIES[self.quantity]))


@dataclass(frozen=True)
class TermVerdict:
    """`measured` in the unit of the term's `bound`; None where there was nothing to measure."""

    term: Term
    measured: float | None
    held: bool

    def __str__(self) -> str:
        return f"{self.term}: {self.measured_text}, {'held' if self.held else 'broken'}"

    @property
    def measured_text(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.term.quantity == "rate":
            return f"{self.measured:.4g}/s"
        return f"{self.measured * 100:.3g} %" if self.term.quantity == "errors" else f"{self.measured:.4g} ms"


@dataclass(frozen=True)
class Verdict:
    """Of one stage."""

    stage: str
    terms: tuple[TermVerdict, ...]

    @property
    def held(self) -> bool:
        return all(term.held for term in self.terms)


@dataclass(frozen=True)
class Slo:
    """All of its terms, in order; `str()` gives it back as it was written, without spaces."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it.

        Raises:
            SloError: where it cannot be read, and what was expected there.
        """
        terms, at = [], 0
        for piece in text.split(","):
            terms.append(_term(text, at, piece))
            at += len(piece) + 1
        return cls(tuple(terms))

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))

    def judge(self, stage: Stage) -> Verdict:
        """Every term over the whole stage."""
        return Verdict(stage.name, tuple(term.judge(stage) for term in self.terms))

    def judged(self, record: Record) -> dict[str, Any]:
        """What goes into `record.slo`: it holds when every stage that counts holds it, and there is one."""
        verdicts = [self.judge(stage) for stage in record.counted()]
        return {
            "objective": str(self),
            "held": bool(verdicts) and all(verdict.held for verdict in verdicts),
            "stages": [_written(verdict) for verdict in verdicts],
        }


def _written(verdict: Verdict) -> dict[str, Any]:
    terms = [
        {"term": str(found.term), "measured": found.measured, "said": found.measured_text, "held": found.held}
        for found in verdict.terms
    ]
    return {"stage": verdict.stage, "held": verdict.held, "terms": terms}


def _rate(stage: Stage) -> float:
    return stage.summary.answered_per_s


def _term(text: str, at: int, piece: str) -> Term:
    known = ", ".join([*LATENCIES, "errors", "rate"])
    found = QUANTITY.match(piece)
    blank = len(piece) - len(piece.lstrip())
    if found is None:
        raise SloError(text, at + blank, f"a term such as {EXAMPLE.split(',')[0]}, of {known}")
    name, model = found["name"], found["model"]
    if name not in (*LATENCIES, "errors", "rate"):
        raise SloError(text, at + blank, f"one of {known}")
    if model == "":
        raise SloError(text, at + found.start("model"), f"a model's name, as in {name}(balloon)")
    relation = RELATION.match(piece, found.end())
    if relation is None:
        raise SloError(text, at + found.end(), f"<, <=, > or >= after {piece[: found.end()].strip()}")
    bound = BOUND.fullmatch(piece, relation.end())
    if bound is None:
        raise SloError(text, at + relation.end(), f"a number after {piece[: relation.end()].strip()}")
    number, unit = bound["number"], bound["unit"]
    scale, expected = _scale(name, unit)
    if scale is None:
        raise SloError(text, at + bound.start("unit" if unit else "number"), expected)
    if name == "errors" and float(number) * scale > 1:
        raise SloError(text, at + bound.start("number"), "at most 100 %, or 1")
    return Term(name, model, relation[0], float(number) * scale, number, unit)


def _scale(name: str, unit: str) -> tuple[float | None, str]:
    if name == "errors":
        return {"%": 0.01, "": 1.0}.get(unit), f"% or nothing (a part of 1) as the unit of {name}"
    if name == "rate":
        return {"/s": 1.0, "": 1.0}.get(unit), f"/s or nothing as the unit of {name}"
    return IN_MS.get(unit), f"us, ms or s as the unit of {name}"
