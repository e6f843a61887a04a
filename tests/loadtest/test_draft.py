"""A record as it grows: stages that are cut short, and what is shown of them."""

import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from loadtest.draft import WARM_UP, Draft
from loadtest.load import Load
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.report import html_of
from loadtest.sampling.collected import Collected
from loadtest.summary import show_record
from loadtest.timetable import Entry, Timetable
from tests.loadtest.test_samples import logged

BEGAN_S, STARTED_S = 1000.0, 1004.0


def record_cut_at(folder: Path, seconds: float, plan: Plan | None = None) -> Record:
    """A warm-up of a second at 20/s, 4 s after the generator was started; a stage of 2 s at 100/s, and one cut."""
    plan = plan or Plan(stages=(Load(rate_per_s=100, seconds=2), Load(rate_per_s=50, seconds=2)))
    first, second = plan.loads()[:2]
    begin_s = STARTED_S + 1
    whole = Timetable(
        (
            Entry(WARM_UP, None, 20.0, BEGAN_S, begin_s),
            Entry(first.label, None, 100.0, begin_s, begin_s + 2),
            Entry(second.label, None, 50.0, begin_s + 2, begin_s + 4),
        )
    )
    end_s = begin_s + 2 + seconds
    due_s = np.concatenate(
        [
            STARTED_S + np.arange(20) / 20,
            begin_s + np.arange(200) / 100,
            begin_s + 2 + np.arange(round(seconds * 50)) / 50,
        ]
    )
    rows = [(due, due, due + 0.001, "ok") for due in due_s.tolist()]
    draft = Draft("cut", plan, "2026-01-01T00:00:00+00:00", BEGAN_S, {}, Collected(BEGAN_S), timetable=whole.cut(end_s))
    folder.mkdir()
    return draft.record(logged(folder, rows), end_s + 3, finished=True)


def shown(record: Record) -> list[list[str]]:
    """The table's rows."""
    console = Console(width=130, file=StringIO())
    show_record(record, console)
    assert isinstance(console.file, StringIO)
    return [re.split(r"\s{2,}", line.strip()) for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("seconds", "row"),
    [
        (0.03, ["50/s, cut at 0.03 s", "-", "-"]),
        (0.5, ["50/s, cut at 0.5 s", "-", "-"]),
        (1.5, ["50/s, cut at 1.5 s", "50.0", "50.0"]),
    ],
)
def test_a_stage_that_is_cut_short_is_marked_and_has_no_rates_of_a_moment(
    tmp_path: Path, seconds: float, row: list[str]
) -> None:
    """Two requests in 0.03 s are not 67 a second; what is long enough is divided by the time that it had."""
    record = record_cut_at(tmp_path / "log", seconds)
    warm_up, whole, cut = record.stages
    assert (warm_up.cut, whole.cut, cut.cut) == (False, False, True)
    assert cut.seconds == pytest.approx(seconds)
    assert row in [cells[:3] for cells in shown(record)]
    assert f"50/s, cut at {seconds:g} s" in html_of([record])


def test_a_moment_is_not_the_busiest_stage_of_a_report(tmp_path: Path) -> None:
    """A stage of which hardly anything was left has no key figures, no phases and no point of the curve."""
    plan = Plan(stages=(Load(rate_per_s=50, seconds=2), Load(rate_per_s=100, seconds=2)))
    record = record_cut_at(tmp_path / "log", 0.05, plan)
    busy = record.stages[2].model_copy(
        update={"summary": record.stages[2].summary.model_copy(update={"answered_per_s": 900.0})}
    )
    page = html_of([record.model_copy(update={"stages": [*record.stages[:2], busy]})])
    assert "Of stage 50/s." in page
    assert "means of stage 50/s." in page
    assert "900" not in page


def test_a_warm_up_counts_from_its_first_request(tmp_path: Path) -> None:
    """The seconds in which the generator starts are none in which nothing was asked."""
    warm_up = record_cut_at(tmp_path / "log", 1.5).stages[0]
    assert warm_up.seconds == pytest.approx(1)
    assert warm_up.summary.due_per_s == pytest.approx(20)
    assert warm_up.begin_s == pytest.approx(4)
