"""Looks at rates: what they say of an objective, and the one record that they make."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from loadtest import looks, record
from loadtest.__main__ import main
from loadtest.histogram import histogram_of
from loadtest.looks import KEY, Look, judged
from loadtest.plan import Plan
from loadtest.record import Record, Series, Stage, Summary, Window
from loadtest.slo import Slo
from loadtest.statistics import percentiles_of
from tests.loadtest.knowing import known_server
from tests.loadtest.known_truth import evenly, single_sojourns_s
from tests.local_triton import ROOT

SLO = Slo.parse("p99<50ms,errors<0.1%")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def looked(rate: float, seconds: int = 10, service_s: float = 0.010, sent: float = 1.0, late_s: float = 0.0) -> Stage:
    """A stage at a server of `service_s`, as the generator writes it: `sent` of what was due, `late_s` late."""
    due = evenly(rate, seconds)
    arrivals = due[: round(len(due) * sent)]
    latencies = single_sojourns_s(service_s, arrivals) + late_s
    windows = []
    for second in range(seconds):
        part = latencies[(arrivals >= second) & (arrivals < second + 1)]
        windows.append(
            Window(begin_s=second, seconds=1, due=int(rate), sent=len(part), answered=len(part),
                   latency=histogram_of(part))
        )  # fmt: skip
    not_sent = len(due) - len(arrivals)
    in_time = int(np.sum(arrivals + latencies <= seconds))
    summary = Summary(
        due=len(due), sent=len(arrivals), answered=len(arrivals), failed={"not_sent": not_sent} if not_sent else {},
        due_per_s=rate, answered_per_s=in_time / seconds, latency_ms=percentiles_of(latencies), images=len(arrivals),
        lateness_ms=percentiles_of(np.full(len(arrivals), late_s)),
    )  # fmt: skip
    return Stage(name="look", rate_per_s=rate, begin_s=2, seconds=seconds, windows=windows, summary=summary)


@pytest.mark.parametrize(
    ("stage", "limited", "verdict"),
    [
        (looked(50), False, (True, True, False)),
        (looked(50, seconds=4), False, (True, False, False)),
        (looked(105), False, (False, False, False)),
        (looked(200), False, (False, True, False)),
        (looked(200), True, (False, True, False)),
        (looked(50, sent=0.8), True, (False, False, True)),
        (looked(50, late_s=0.2), True, (False, False, True)),
        (looked(50, late_s=0.02), True, (True, True, False)),
    ],
    ids=["calm", "short", "just above", "far above", "far above, and late", "not sent", "late", "a little late"],
)  # fmt: skip
def test_what_a_look_says(stage: Stage, limited: bool, verdict: tuple[bool, bool, bool]) -> None:
    """Held or not, whether clearly, and whether it was the generator: never where the server plainly fell behind."""
    found = judged(Look(stage, limited), SLO)
    assert (found.held, found.clear, found.limited) == verdict


class Made:
    """In place of `loadtest.run.run`, with a server of 10 ms."""

    def __init__(self, end_at: int | None = None, invalid: dict[int, str] | None = None) -> None:
        self.rates: list[float] = []
        self._end_at, self._invalid = end_at, invalid or {}

    def __call__(self, plan: Plan, folder: Path, *, stop: threading.Event, on_progress: object) -> Record:
        [load] = plan.stages
        assert load.rate_per_s is not None
        self.rates.append(load.rate_per_s)
        if len(self.rates) == self._end_at:
            os.kill(os.getpid(), signal.SIGTERM)
        began = BEGAN + timedelta(seconds=20 * len(self.rates))
        reason = self._invalid.get(len(self.rates))
        stage = looked(load.rate_per_s, round(load.seconds)).model_copy(update={"name": load.name})
        return Record(
            schema=1, name="made", began=began.isoformat(), seconds=14, finished=True,
            invalid=[reason] if reason else [], plan={}, conditions={"commit": "x"}, stages=[stage],
            series=[Series(name="generator.cpu", unit="cores", times_s=[0, 1], values=[0.1, 0.2])],
        )  # fmt: skip


@pytest.fixture(autouse=True)
def nobody_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "drained", lambda *_: True)


def search(made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> tuple[int, list[Path]]:
    """Exit status, and the records there are."""
    monkeypatch.setattr(looks, "run", made)
    arguments = more or ("--slo", str(SLO), "--rate", "20", "--most", "1000")
    status = main(["capacity", "--out", str(folder), *arguments])
    return status, sorted(folder.glob("*.json"))


def test_all_looks_are_stages_of_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time of the first, with what was found; it is valid, and a report is made of it."""
    made = Made()
    status, [path] = search(made, tmp_path, monkeypatch)
    found = record.read(path)
    assert status == 0
    assert found.is_valid
    assert [stage.rate_per_s for stage in found.stages] == made.rates
    begins = [stage.begin_s for stage in found.stages]
    assert begins == [2 + 20 * number for number in range(len(begins))]
    assert found.stages[1].windows[0].begin_s == 20
    assert [len(series.times_s) for series in found.series] == [2 * len(begins)]
    told = found.conditions[KEY]
    assert 95 <= told["rate_per_s"] <= 100 < told["above_per_s"] <= 105
    assert found.slo is not None
    assert found.slo["held"]
    assert path.with_suffix(".html").exists()


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its looks are not made again, and what is found is what would have been found."""
    whole, first, rest = Made(), Made(end_at=6), Made()
    search(whole, tmp_path / "whole", monkeypatch)
    status, [path] = search(first, tmp_path, monkeypatch)
    assert status == 128 + signal.SIGTERM
    assert not record.read(path).finished
    status, [path] = search(rest, tmp_path, monkeypatch, "--resume", str(path))
    assert status == 0
    assert record.read(path).finished
    assert first.rates[:5] + rest.rates == whole.rates
    status, _ = search(rest, tmp_path, monkeypatch, "--resume", str(path))
    assert status == 2


def test_a_run_that_is_invalid_for_another_reason_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody else's load in one is no verdict; in three in a row it is in the record, and in the exit status."""
    made = Made(invalid={2: "counts differ"})
    status, [path] = search(made, tmp_path / "once", monkeypatch)
    assert status == 0
    assert made.rates[1] == made.rates[2]
    assert record.read(path).is_valid
    status, [path] = search(Made(invalid=dict.fromkeys(range(100), "counts differ")), tmp_path, monkeypatch)
    assert status == 3
    assert "counts differ" in record.read(path).invalid[0]


def test_a_search_without_an_objective_is_asked_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent; a closed loop is refused as well."""
    assert main(["capacity", "--out", str(tmp_path)]) == 2
    assert "--slo" in capsys.readouterr().err
    assert main(["capacity", "--users", "8", "--slo", str(SLO), "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_command_looks_at_a_real_server(tmp_path: Path) -> None:
    """With the real generator: one rate that holds, which is the most that may be tried."""
    with known_server("--workers", "1", "--service", "deterministic:0.005") as server:
        command = [sys.executable, "-m", "loadtest", "capacity", "--host", server.url, "--triton", "", "--images"]
        command += ["made:64x64x1", "--rate", "20", "--most", "20", "--seconds", "2", "--slo", "p50<2000ms,errors<1%"]
        ended = subprocess.run(
            [*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "at least 20 requests/s" in ended.stdout
        [path] = tmp_path.glob("*.json")
        assert record.read(path).stages[0].summary.answered == 40
