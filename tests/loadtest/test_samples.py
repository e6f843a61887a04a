"""The log of requests, and the figures that are made of it."""

import math
from pathlib import Path

import numpy as np
import pytest

from loadtest.histogram import percentile_s
from loadtest.load import Steps
from loadtest.plan import Plan, WarmUp
from loadtest.record import Stage
from loadtest.samples import ROW, SampleLog, SampleReader, Samples
from loadtest.saturation import Saturation
from loadtest.stages import stage_from_samples
from loadtest.timetable import Entry
from loadtest.validity import Told, problem_of_throttling, problems_of_stage
from loadtest.warming import is_warm

NAN = math.nan


def logged(folder: Path, rows: list[tuple[float, float, float, str]]) -> Samples:
    """Of due, sent, ended and outcome."""
    log = SampleLog(folder)
    for due_s, sent_s, ended_s, outcome in rows:
        log.add(due_s, sent_s, ended_s, "balloon", outcome, int(outcome == "ok"), {"decode": 2.0})
    log.close()
    return SampleReader(folder).read()


def test_what_was_logged_is_read_as_it_was(tmp_path: Path) -> None:
    """Words of models, outcomes and phases with it, and as it comes."""
    log, reader = SampleLog(tmp_path), SampleReader(tmp_path)
    log.add(1.0, 1.1, 1.5, "balloon", "ok", 1, {"decode": 2.0, "total": 9.0})
    log.flush()
    first = reader.read()
    assert (first.models, first.phases, len(first.rows)) == (["balloon"], ["decode", "total"], 1)
    log.add(2.0, NAN, NAN, "fruit", "not_sent")
    log.close()
    both = reader.read()
    assert both.are("ok").tolist() == [True, False]
    assert both.rows["phases_ms"][0, :2].tolist() == [2.0, 9.0]
    assert np.isnan(both.rows["phases_ms"][1]).all()


def test_the_first_failure_of_a_kind_is_quoted(tmp_path: Path) -> None:
    """In one line, whatever the server wrote; there may be millions of it."""
    log, reader = SampleLog(tmp_path), SampleReader(tmp_path)
    log.add(1.0, 1.1, 1.5, "balloon", "http_500", detail="out of\nmemory\u2028model gone")
    log.add(2.0, 2.1, 2.5, "balloon", "http_500", detail="another")
    log.add(3.0, 3.1, 3.5, "balloon", "timeout", detail="late")
    log.close()
    assert reader.read().outcomes == ["http_500", "timeout"]
    assert reader.said == {"http_500": "out of memory model gone", "timeout": "late"}


def test_a_later_run_quotes_no_failure_of_an_earlier_one(tmp_path: Path) -> None:
    """Of a generator that is kept, whose log has both."""
    log = SampleLog(tmp_path)
    log.add(1.0, 1.1, 1.5, "balloon", "http_500", detail="out of memory")
    log.flush()
    later = SampleReader(tmp_path, news=True)
    log.add(2.0, 2.1, 2.5, "balloon", "ok")
    log.add(3.0, 3.1, 3.5, "balloon", "timeout", detail="late")
    log.close()
    assert len(later.read().rows) == 2
    assert later.said == {"timeout": "late"}


def test_the_log_of_a_killed_process_is_read_up_to_its_last_whole_row(tmp_path: Path) -> None:
    """A row that was cut off is left out; it is read when the rest of it comes."""
    logged(tmp_path, [(0.0, 0.0, 1.0, "ok"), (1.0, 1.0, 2.0, "ok")])
    [path] = tmp_path.glob("*.bin")
    whole = path.read_bytes()
    path.write_bytes(whole[: ROW.itemsize + 5])
    reader = SampleReader(tmp_path)
    assert len(reader.read().rows) == 1
    path.write_bytes(whole)
    assert reader.read().rows["due_s"].tolist() == [0.0, 1.0]


def test_words_of_several_processes_are_brought_together(tmp_path: Path) -> None:
    """Each numbers its own."""
    for number, words in enumerate((["a", "b"], ["b", "a"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        log = SampleLog(folder)
        for word in words:
            log.add(0.0, 0.0, 1.0, word, f"kind-{word}", 1, {f"phase-{word}": float(number + 1)})
        log.close()
        for path in folder.iterdir():
            path.rename(tmp_path / f"samples-{number}{path.suffix}")
    samples = SampleReader(tmp_path).read()
    named = [(samples.models[row["model"]], samples.outcomes[row["outcome"]]) for row in samples.rows]
    assert named == [("a", "kind-a"), ("b", "kind-b"), ("b", "kind-b"), ("a", "kind-a")]
    of_a = samples.rows["phases_ms"][:, samples.phases.index("phase-a")]
    assert np.isfinite(of_a).tolist() == [True, False, False, True]


def test_latency_counts_from_when_a_request_was_due(tmp_path: Path) -> None:
    """One sent late has its lateness in its latency; one that could not be sent is a failure of its kind."""
    samples = logged(tmp_path, [(10.0, 10.0, 10.1, "ok"), (10.5, 12.0, 12.1, "ok"), (11.0, NAN, NAN, "not_sent")])
    stage = stage_from_samples(Entry("5/s", None, 5.0, 10.0, 12.0), samples, 9.0, 20.0, 1.0)
    assert stage.summary.latency_ms is not None
    assert stage.summary.latency_ms.max == pytest.approx(1600)
    assert stage.summary.lateness_ms is not None
    assert stage.summary.lateness_ms.max == pytest.approx(1500)
    assert (stage.summary.due, stage.summary.sent, stage.summary.answered) == (3, 2, 2)
    assert stage.summary.failed == {"not_sent": 1}
    assert [window.due for window in stage.windows] == [2, 1]
    assert percentile_s(stage.windows[0].latency, 100) == pytest.approx(1.6, rel=0.01)
    assert stage.models["balloon"].phases_ms == {"decode": 2.0}


def test_in_flight_is_the_mean_over_each_window(tmp_path: Path) -> None:
    """One that lasts half of a window counts half in it; one without an end lasts to the end."""
    samples = logged(tmp_path, [(0.0, 0.0, 1.5, "ok"), (1.0, 1.0, NAN, "unanswered")])
    stage = stage_from_samples(Entry("2 users", 2, None, 0.0, 3.0), samples, 0.0, 3.0, 1.0)
    assert [window.in_flight for window in stage.windows] == pytest.approx([1.0, 1.5, 1.0])


def test_warm_is_a_median_that_stays(tmp_path: Path) -> None:
    """Not one that falls, nor a window without an answer."""
    steady = [(0.1 * number, 0.1 * number, 0.1 * number + 0.05, "ok") for number in range(40)]
    falling = [(due, sent, due + 1 / (1 + due), outcome) for due, sent, _, outcome in steady]
    for name, rows, now_s, warm in [
        ("steady", steady, 4.0, True), ("falling", falling, 4.0, False), ("silent", steady, 5.5, False)
    ]:  # fmt: skip
        (tmp_path / name).mkdir()
        assert is_warm(WarmUp(), logged(tmp_path / name, rows), now_s) is warm, name


def test_a_generator_that_could_not_makes_a_run_invalid(tmp_path: Path) -> None:
    """Late, busy, or short of its rate; and a run that failed. One that did well has no problem."""
    good = [(0.01 * number, 0.01 * number, 0.01 * number + 0.05, "ok") for number in range(100)]
    entry, plan = Entry("100/s", None, 100.0, 0.0, 1.0), Plan()

    def problems(name: str, rows: list[tuple[float, float, float, str]], cores: float = 0.3, plan: Plan = plan) -> str:
        (tmp_path / name).mkdir()
        stage = stage_from_samples(entry, logged(tmp_path / name, rows), 0.0, 2.0, 1.0)
        return " ".join(problems_of_stage(stage, plan, [cores]))

    assert problems("good", good) == ""
    assert "saturated" in problems("busy", good, 0.97)
    assert "late" in problems("late", [(due, due + 0.02, due + 0.07, "ok") for due, *_ in good])
    assert "90 of 100 requests were sent" in problems("short", good[:90])
    not_sent = [(due, NAN, NAN, "not_sent") for due, *_ in good[:10]]
    assert "10 for want of room" in problems("room", not_sent + good[10:])
    failed = [(due, due, due + 0.01, "http_500") for due, *_ in good[:60]]
    assert "60 of 100 requests failed: http_500 60" in problems("failed", failed + good[60:])
    assert "failed" not in problems("some", failed[:40] + good[40:])
    steps = Plan(steps=Steps(first=10, most=100))
    assert problems("steps", failed + good[60:], plan=steps) == ""


def test_counts_of_server_and_client_are_compared() -> None:
    """Fewer, and more than anybody here can have asked, are told apart; uncertain ones may be either."""
    assert Told("the gateway", 100, 100, 0).problem() is None
    assert Told("the gateway", 103, 100, 3).problem() is None
    assert "restarted" in (Told("the gateway", 99, 100, 0).problem() or "")
    assert "2 were somebody else's" in (Told("the gateway", 105, 100, 3).problem() or "")


def test_a_device_that_throttled_is_a_reason() -> None:
    """With what slowed it."""
    assert problem_of_throttling({}) == []
    assert "soctherm in 3 samples" in problem_of_throttling({"soctherm": 3})[0]


def test_steps_end_where_answers_do_not_come_quicker(tmp_path: Path) -> None:
    """Or where they fail, or break the SLO."""

    def stage(name: str, seconds: float, outcome: str = "ok") -> Stage:
        folder = tmp_path / name
        folder.mkdir()
        rows = [(0.01 * number, 0.01 * number, 0.01 * number + seconds, outcome) for number in range(50)]
        return stage_from_samples(Entry(name, 1, None, 0.0, 1.0), logged(folder, rows), 0.0, 5.0, 1.0)

    quick = stage("quick", 0.02)
    assert not Saturation(None).is_reached(quick)
    again = Saturation(None)
    assert [again.is_reached(quick), again.is_reached(quick)] == [False, True]
    assert Saturation(None).is_reached(stage("failing", 0.02, "overloaded"))
    assert Saturation("p99<10ms").is_reached(quick)
