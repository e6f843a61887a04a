"""Objectives: read, written, judged, refused."""

import numpy as np
import pytest

from loadtest.record import Record
from loadtest.slo import Slo, SloError
from tests.loadtest.simulated import latencies_of, record_of, stage_of

STAGE = stage_of([np.arange(1, 101) / 1e3] * 2, failed=1)
"""In each of two seconds 1 to 100 ms, and a failure."""


@pytest.mark.parametrize(
    "text",
    [
        "p99<50ms,errors<0.1%,rate>=60",
        "p50<=900us",
        "p99.9<1.5s,max<2s,mean<20ms",
        "p99(balloon)<80ms,errors(balloon)<=0.001,rate(balloon)>5/s",
        "p95(a model, no: with spaces)<1ms".replace(", no:", ""),
    ],
)
def test_what_was_read_is_written_again(text: str) -> None:
    """To the letter; with spaces anywhere between, too."""
    assert str(Slo.parse(text)) == text
    spaced = text.replace("<", " < ").replace(",", " , ").replace("< =", "<=").replace("<  =", "<=")
    assert str(Slo.parse(spaced.replace("< =", "<="))) == text


@pytest.mark.parametrize(
    ("term", "held", "measured"),
    [
        ("p50<=50ms", True, 50),
        ("p50<50ms", False, 50),
        ("p50<0.0501s", True, 50),
        ("p50<50100us", True, 50),
        ("p99>98ms", True, 99),
        ("max>=100ms", True, 100),
        ("mean<50.4ms", False, 50.5),
        ("p99.9<100ms", False, 100),
        ("errors<1%", True, 2 / 202),
        ("errors<0.0099", False, 2 / 202),
        ("rate>=100", True, 100),
        ("rate>100/s", False, 100),
        ("p90(balloon)<91ms", True, 90),
        ("errors(balloon)<1%", True, 2 / 202),
        ("rate(balloon)<100", False, 100),
        ("p90(other)<91ms", False, None),
        ("rate(other)>0", False, None),
    ],
)
def test_terms_are_judged(term: str, held: bool, measured: float | None) -> None:
    """By the relation that is written, in the unit that is written; what was not measured does not hold."""
    [found] = Slo.parse(term).judge(STAGE).terms
    assert found.held is held
    assert found.measured == (None if measured is None else pytest.approx(measured))


@pytest.mark.parametrize(
    ("text", "under", "expected"),
    [
        ("p99<50ms,errs<1%", "errs", "one of mean, p50"),
        ("p99<50ms,  errs<1%", "errs", "one of mean, p50"),
        ("p98<50ms", "p98", "p99.9"),
        ("p99<50", "50", "us, ms or s"),
        ("p99<50min", "min", "us, ms or s"),
        ("p99<ms", "ms", "a number after p99<"),
        ("rate>5,p99<ms", "ms", "a number after p99<"),
        ("rate>5,p99<7min", "min", "us, ms or s"),
        ("rate>5,p99", "", "<, <=, > or >="),
        ("rate>5, p99()<1ms", ")<1ms", "a model's name"),
        ("p99<-5ms", "-5", "a number after p99<"),
        ("p99=50ms", "=50", "<, <=, > or >= after p99"),
        ("p99", "", "<, <=, > or >="),
        ("p50<1ms,", "", "a term such as p99<50ms"),
        ("", "", "a term such as p99<50ms"),
        ("p50<1ms, ,rate>5", ",rate", "a term such as p99<50ms"),
        ("rate>5ms", "ms", "/s or nothing"),
        ("errors<1ms", "ms", "% or nothing"),
        ("errors<120%", "120", "at most 100 %"),
        ("p99()<5ms", ")<5ms", "a model's name, as in p99(balloon)"),
        ("p99(a<5ms", "(a<5", "<, <=, > or >= after p99"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, under: str, expected: str) -> None:
    """With a caret below it, and what was expected."""
    with pytest.raises(SloError) as caught:
        Slo.parse(text)
    said, line, caret = str(caught.value).split("\n")
    assert expected in said
    assert line == f"  {text}"
    assert text[len(caret) - 3 :].startswith(under)


def test_a_record_holds_what_every_stage_holds() -> None:
    """Warm-ups do not count; a record without stages holds nothing; the verdict fits into the record."""
    rng = np.random.default_rng(0)
    quick, slow = (latencies_of(rng, 5, 50, median_s=median_s) for median_s in (0.01, 0.05))
    slo = Slo.parse("p50<20ms,errors<1%")
    held = record_of([stage_of(slow, "warm-up", counts=False), stage_of(quick, "steady")])
    broken = record_of([stage_of(quick, "low"), stage_of(slow, "high")])
    assert slo.judged(held)["held"] is True
    found = slo.judged(broken)
    assert found["held"] is False
    assert [(stage["stage"], stage["held"]) for stage in found["stages"]] == [("low", True), ("high", False)]
    assert found["stages"][1]["terms"][0]["said"].endswith(" ms")
    assert slo.judged(record_of([]))["held"] is False
    with_it = broken.model_copy(update={"slo": found})
    assert Record.model_validate_json(with_it.model_dump_json(by_alias=True)).slo == found


def test_nothing_answered_breaks_latencies() -> None:
    """And says that nothing was measured, where it could be taken for a latency of nought."""
    empty = STAGE.model_copy(update={"summary": STAGE.summary.model_copy(update={"latency_ms": None})})
    verdict = Slo.parse("p99<50ms").judge(empty)
    assert not verdict.held
    assert str(verdict.terms[0]) == "p99<50ms: not measured, broken"
