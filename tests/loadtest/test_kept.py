"""One generator for several runs, as a search for settings has it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from loadtest.kept import KeptGenerator
from loadtest.load import Load
from loadtest.run import run
from tests.loadtest.knowing import KnownServer, known_server
from tests.loadtest.test_run import LONG_S, generators, plan, reasons

NO_LIMITS = {"lateness_p99_ms": 60_000, "generator_cpu": 2, "sent": 0.01}
"""A run on a machine that stood still would be invalid, and its generator ended."""
FAULTS = "counts differ", "generator ended", "processes ended", "requests failed", "no request was"
"""Reasons that no busy machine is."""
BUSY = "the generator was", "the generator sent nothing", " were sent", "told nothing for"


@pytest.fixture(scope="module")
def quick() -> Iterator[KnownServer]:
    with known_server("--service", "deterministic:0.010", "--workers", "infinite") as server:
        yield server


@pytest.mark.parametrize(
    "load", [Load(rate_per_s=40, seconds=1), Load(users=2, seconds=LONG_S)], ids=["open", "closed"]
)
def test_each_run_has_what_it_asked_for_and_no_more(tmp_path: Path, quick: KnownServer, load: Load) -> None:
    """Though the process is the same: what it did before is not counted again, and nothing of it is left undone.

    On a machine that stands still for a second a run is invalid, and its process is ended; it says so itself.
    """
    asked = plan(quick, stages=[load.model_dump(exclude_none=True)], limits=NO_LIMITS)
    with KeptGenerator(tmp_path / "kept") as kept:
        records = [run(asked, tmp_path, kept=kept)]
        begun, connected = generators(), connections(quick)
        records += [run(asked, tmp_path, kept=kept) for _ in range(2)]
        are_valid = all(record.is_valid for record in records)
        assert (len(begun) == 1 and generators() == begun) == are_valid, [record.invalid for record in records]
        assert (bool(connected) and connected <= connections(quick)) or not are_valid
    assert not generators()
    assert not list((tmp_path / "kept").iterdir())
    said = [reasons(record) for record in records]
    assert not any(fault in each for fault in FAULTS for each in said), said
    assert are_valid or all(any(busy in each for busy in BUSY) for each in said if each), said
    for record in filter(lambda record: record.is_valid, records):
        counts = record.conditions["counts"]
        assert counts["counted"]["the gateway"] == counts["came"]
        assert counts["failed"] == {}
        [stage] = record.counted()
        assert stage.seconds == pytest.approx(load.seconds)
        assert 0 < stage.summary.answered < counts["came"]
        if load.rate_per_s is not None:
            assert stage.summary.due == 40


def test_nothing_is_left_out_of_a_stage_that_a_generator_slept_through(tmp_path: Path) -> None:
    """Neither the rest of one, nor one that began and ended meanwhile: it is sent late, in the run that it is of."""
    turns, slept = [("in it", 1.2), ("before it", 1.8)], set[str]()

    def sleep(what: str, spent_s: float, whole_s: float) -> None:
        when, seconds = turns[0]
        now = "in it" if what == "a second" else "before it" if spent_s < 0 else ""
        if now == when and when not in slept:
            slept.add(when)
            [process] = generators()
            process.suspend()
            time.sleep(seconds)
            process.resume()

    at_once = known_server("--service", "deterministic:0.0005", "--workers", "infinite")
    with at_once as server, KeptGenerator(tmp_path / "kept") as kept:
        asked = plan(server, stages=[{"rate_per_s": 300, "seconds": 1, "name": "a second"}], limits=NO_LIMITS)
        while turns:
            record = run(asked, tmp_path, kept=kept, on_progress=sleep)
            counts = record.conditions["counts"]
            assert record.counted()[0].summary.due == 300
            assert counts["counted"]["the gateway"] == counts["came"]
            del turns[0]
    assert slept  # both, but on a machine that stands still itself just then


def connections(server: KnownServer) -> set[int]:
    """Local ports of the generator's to it."""
    port = urlsplit(server.url).port
    found = [each for process in generators() for each in process.net_connections("tcp") if each.raddr]
    return {each.laddr.port for each in found if each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED}


def test_a_token_that_was_renewed_is_sent(tmp_path: Path) -> None:
    """The file that the plan names is another one's now: so is the generator, and it asks with what is there."""
    key, template = tmp_path / "key", tmp_path / "other.toml"
    key.write_text("the-first-one")
    template.write_text('path = "/v1/models/known/predict"\ncontains = ["results"]\n')
    values: dict[str, Any] = {"transport": "template", "template": str(template), "gateway": "", "limits": NO_LIMITS}
    values |= {"headers": {"authorization": f"{{file:{key}}}"}, "stages": [{"users": 1, "seconds": 0.5}]}
    guarded = known_server("--workers", "infinite", "--key", "the-first-one")
    with guarded as server, KeptGenerator(tmp_path / "kept") as kept:
        first = run(plan(server, **values), tmp_path, kept=kept)
        key.write_text("another-one")
        second = run(plan(server, **values), tmp_path, kept=kept)
    assert first.counted()[0].summary.failed == {}
    assert first.conditions.get("said") is None
    assert second.counted()[0].summary.answered == 0
    assert second.conditions["said"] == {"unauthorized": "there is no key ['{hidden}']"}


def test_a_run_that_went_wrong_leaves_no_generator_to_the_next(tmp_path: Path, quick: KnownServer) -> None:
    """One that was interrupted, or invalid, or whose generator was killed since: the next begins anew, and is whole."""
    impossible = {"lateness_p99_ms": 1e-6, "lateness_share": 1e-9}
    late = plan(quick, stages=[{"rate_per_s": 20, "seconds": 0.5}], limits=impossible)
    asked, stop = plan(quick, stages=[{"users": 1, "seconds": LONG_S}], limits=NO_LIMITS), threading.Event()
    stop.set()
    with KeptGenerator(tmp_path / "kept") as kept:
        assert run(asked, tmp_path, kept=kept, stop=stop).invalid[0] == "interrupted"
        assert not generators()
        assert not run(late, tmp_path, kept=kept).is_valid
        assert not generators()
        run(asked, tmp_path, kept=kept)
        [process] = generators()
        process.kill()
        process.wait(5)
        assert run(asked, tmp_path, kept=kept).counted()[0].summary.failed == {}
        assert generators() != [process]
