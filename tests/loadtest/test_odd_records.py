"""Records that are short, empty, failed, strangely named, or no records: told of, or shown as what they are."""

import json
import tomllib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtest import record as records
from loadtest.__main__ import main
from loadtest.comparable import reasons_against
from loadtest.comparison import comparison_of
from loadtest.histogram import LAST
from loadtest.plan import Plan, plan_from_values
from loadtest.record import Percentiles, Record, RecordError, Stage, Summary
from loadtest.report import html_of
from loadtest.report.facts import facts_of
from loadtest.summary import show_record
from tests.loadtest.simulated import steps_record

STRANGE = "[bold]ünï→模型🚀</title>[/nope]"
HUGE = Percentiles(mean=1e12, p50=1e12, p90=1e13, p95=1e13, p99=1e15, p999=1e15, max=1e300)
Odd = Callable[[Record], dict[str, Any]]


@pytest.fixture(scope="module")
def good() -> Record:
    return steps_record()


def empty(stage: Stage) -> Stage:
    """Nothing was due in it."""
    summary = Summary(due=0, sent=0, answered=0, due_per_s=0, answered_per_s=0, images=0)
    return stage.model_copy(update={"windows": [], "seconds": 0.0, "models": {}, "summary": summary})


def failed(stage: Stage) -> Stage:
    """Everything in it."""
    nothing = {"answered": 0, "latency": {}}
    windows = [window.model_copy(update=nothing | {"failed": {STRANGE: window.due}}) for window in stage.windows]
    figures = {"answered": 0, "answered_per_s": 0.0, "latency_ms": None, "failed": {STRANGE: stage.summary.due}}
    summary = stage.summary.model_copy(update=figures)
    return stage.model_copy(update={"windows": windows, "models": {}, "summary": summary})


def huge(stage: Stage) -> Stage:
    figures = {"answered": 10**18, "due": 10**18, "sent": 10**18, "answered_per_s": 1e17, "latency_ms": HUGE}
    return stage.model_copy(update={"summary": stage.summary.model_copy(update=figures)})


def short(stage: Stage) -> Stage:
    """Of less than a window."""
    window = stage.windows[0].model_copy(update={"seconds": 0.3})
    return stage.model_copy(update={"windows": [window], "seconds": 0.3})


ODD: dict[str, Odd] = {
    "no stage": lambda good: {"stages": [], "series": []},
    "nothing due": lambda good: {"stages": [empty(stage) for stage in good.stages]},
    "all failed": lambda good: {"stages": [failed(stage) for stage in good.stages]},
    "one failed": lambda good: {"stages": [failed(good.stages[0]), *good.stages[1:]]},
    "huge": lambda good: {"stages": [huge(stage) for stage in good.stages]},
    "short": lambda good: {"stages": [short(stage) for stage in good.stages]},
    "unknown": lambda good: {"plan": {}, "conditions": {"models": None, "generator": None, "target": "somewhere"}},
    "strange": lambda good: {
        "name": STRANGE,
        "plan": good.plan | {"name": STRANGE},
        "invalid": [STRANGE],
        "slo": {"objective": STRANGE, "held": False},
        "stages": [
            good.stages[0].model_copy(
                update={"name": STRANGE, "models": {STRANGE: next(iter(good.stages[0].models.values()))}}
            )
        ],
        "conditions": {
            "said": {STRANGE: STRANGE},
            "notes": [STRANGE],
            "counts": {"came": 1, "counted": {STRANGE: 2}},
        },
    },
}


def shown(record: Record) -> str:
    console = Console(width=250, file=StringIO())
    show_record(record, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_every_odd_record_is_written_read_shown_and_compared(good: Record, odd: Odd, tmp_path: Path) -> None:
    """On the terminal, on a page alone and beside another, and as B of a comparison; no figure is made of nothing."""
    record = good.model_copy(update=odd(good))
    records.write(tmp_path / "odd.json", record)
    read = records.read(tmp_path / "odd.json")
    assert read == record
    pages = [html_of([read]), html_of([good, read], comparison_of([good], [read]))]
    reasons_against([good], [read])
    for text in (*pages, shown(read)):
        assert not {"nan", "None", "inf"} & set(text.replace("<", " ").replace(">", " ").split())


def test_strange_names_are_shown_as_they_are(good: Record) -> None:
    """Brackets are no colours on the terminal, and nothing is a tag on a page."""
    record = good.model_copy(update=ODD["strange"](good))
    assert shown(record).count(STRANGE) >= 8
    assert STRANGE not in html_of([record])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"stages": [{"rate_per_s": 20, "seconds": 3, "name": "café 🚀 \x7f\n"}], "slo": "p99<5ms"},
        {"steps": {"first": 10, "most": 100}, "models": {"modèle🚀": 2}, "headers": {"X-Key": "{env:KEY}"}},
        {"spike": {"calm": 2, "spike": 8, "of": "users"}, "triton": "", "warm_up": {"at_most_s": 0}},
    ],
)
def test_the_plan_on_a_page_can_be_run_again(good: Record, values: dict[str, Any]) -> None:
    """It is the same plan, whatever was in it."""
    plan = plan_from_values(values)
    loads = [load.model_dump(exclude_none=True) for load in plan.loads()]
    written = plan.model_dump(mode="json", exclude_none=True) | {"loads": loads}
    told = facts_of(good.model_copy(update={"plan": written}), "A").plan
    assert plan_from_values(tomllib.loads(told)) == plan
    assert Plan.model_fields.keys() >= tomllib.loads(told).keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2].encode(), "is not JSON: .* was it cut off on its way"),
        (lambda text: b"", "was it cut off"),
        (lambda text: text.encode("utf-16"), "is not JSON"),
        (lambda text: b"[]", "is not a record"),
        (lambda text: changed(text, ("schema",), 2), "of schema 2, and this version reads schema 1"),
        (lambda text: changed(text, ("series", 0, "values"), []), r"series.0: .*has \d+ times and 0 values"),
        (lambda text: changed(text, ("stages", 0, "windows", 0, "latency"), {str(LAST + 1): 3}), "less than or equal"),
        (lambda text: changed(text, ("stages", 0, "windows", 0, "latency"), {"7": -1}), "greater than or equal to 0"),
        (lambda text: changed(text, ("new",), 1), "new: Extra inputs .* a later version wrote it"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_said_in_a_line(
    good: Record, tmp_path: Path, change: Callable[[str], bytes], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the file's name and what to do; by every command that reads one."""
    path = tmp_path / "odd.json"
    records.write(path, good)
    path.write_bytes(change(path.read_text()))
    with pytest.raises(RecordError, match=said):
        records.read(path)
    assert main(["report", str(path)]) == 2
    assert main(["compare", str(path), str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(str(path) in line for line in lines)


def changed(text: str, place: tuple[str | int, ...], value: object) -> bytes:
    """With another value there."""
    whole = found = json.loads(text)
    for step in place[:-1]:
        found = found[step]
    found[place[-1]] = value
    return json.dumps(whole).encode()


def test_a_record_of_the_version_before_is_read(good: Record, tmp_path: Path) -> None:
    """It says nothing of stages that were cut."""
    path = tmp_path / "before.json"
    told = good.model_dump(mode="json", by_alias=True)
    for stage in told["stages"]:
        del stage["cut"]
    path.write_text(json.dumps(told))
    assert records.read(path) == good


def test_a_comparison_of_nothing_is_refused(good: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not "not told apart", which would be an answer."""
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    records.write(paths[0], good)
    records.write(paths[1], good.model_copy(update=ODD["nothing due"](good)))
    assert main(["compare", "--anyway", *map(str, paths)]) == 2
    assert "nothing was measured on both sides" in capsys.readouterr().err
