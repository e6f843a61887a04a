"""Where a request's time went."""

import time

import pytest

from clients.phases import Phases
from gateway.phases import server_timing


def test_phases_add_up_in_the_order_they_came() -> None:
    """A phase entered twice is counted twice, and the total is the whole."""
    phases = Phases()
    with phases.of("decode"):
        time.sleep(0.002)
    phases.add("infer", 0.004)
    phases.add("decode", 0.5)
    spent_ms = phases.milliseconds()
    assert list(spent_ms) == ["decode", "infer", "total"]
    assert spent_ms["decode"] >= 502
    assert spent_ms["infer"] == 4
    assert 2 <= spent_ms["total"] < 400


def test_a_phase_that_fails_is_counted() -> None:
    """Time is spent whether or not something came of it."""
    phases = Phases()
    with pytest.raises(KeyError), phases.of("decode"):
        raise KeyError
    assert "decode" in phases.seconds()


def test_server_timing_is_the_header_of_the_specification() -> None:
    """Names and `dur` in milliseconds, as browsers show them."""
    assert server_timing({"decode": 5.31, "total": 45.0}) == "decode;dur=5.31, total;dur=45"
