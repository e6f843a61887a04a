"""`report` and `compare`, as they are typed."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loadtest.commands import compare, report
from loadtest.record import Record, read, write
from loadtest.report.toml import toml_of
from tests.loadtest.simulated import latencies_of, record_of, stage_of

Typed = Callable[..., int]


@pytest.fixture
def typed() -> Typed:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for command in (report, compare):
        command.add(commands)

    def run(*arguments: object) -> int:
        options = parser.parse_args([str(argument) for argument in arguments])
        status: int = options.command(options)
        return status

    return run


def recorded(folder: Path, count: int, slower: float = 1.0, **changes: object) -> Path:
    """A folder of records of one build."""
    for number in range(count):
        rng = np.random.default_rng((number, round(slower * 100)))
        stages = [stage_of(latencies_of(rng, 12, 40, median_s=0.02 * slower))]
        record = record_of(stages, f"{folder.name}-{number}", **changes)
        write(folder / f"{number}.json", record)
    return folder


def test_report_writes_one_page(typed: Typed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the record, or where it is told."""
    folder = recorded(tmp_path / "a", 2)
    assert typed("report", folder / "0.json") == 0
    assert "a-0" in (folder / "0.html").read_text()
    assert typed("report", folder / "0.json", folder / "1.json", "--out", tmp_path / "both.html") == 0
    assert "a-1" in (tmp_path / "both.html").read_text()
    assert capsys.readouterr().out.split() == [str(folder / "0.html"), str(tmp_path / "both.html")]


def test_what_is_no_record_is_said(typed: Typed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its path, and 2."""
    (tmp_path / "x.json").write_text("{}")
    assert typed("report", tmp_path / "x.json") == 2
    assert typed("report", tmp_path / "none.json") == 2
    assert typed("compare", tmp_path / "x.json", tmp_path / "x.json") == 2
    assert typed("compare", tmp_path, tmp_path / "empty") == 2
    assert typed("compare", ",", tmp_path / "x.json") == 2
    said = capsys.readouterr().err
    assert said.count("x.json is not a record of `python -m loadtest run`") == 3
    assert "none.json cannot be read: No such file" in said
    assert "names no record" in said


def test_compare_says_alike_or_worse(typed: Typed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By commas and by folders; only `--fail-if-worse` makes it fail, and only where B is worse."""
    a, b = recorded(tmp_path / "a", 6), recorded(tmp_path / "b", 6, 1.15)
    assert typed("compare", f"{a / '0.json'},{a / '1.json'}", f"{a / '2.json'},{a / '3.json'}", "--fail-if-worse") == 0
    assert "B is not told apart" in capsys.readouterr().out
    assert typed("compare", a, b) == 0
    assert typed("compare", b, a, "--fail-if-worse") == 0
    assert "B is better (6 of A and 6 of B)." in capsys.readouterr().out
    assert typed("compare", a, b, "--fail-if-worse", "--json", "--out", tmp_path / "c.html") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "worse"
    [p50] = [row for row in found["rows"] if row["quantity"] == "p50"]
    assert p50["low"] < 1.15 < p50["high"]
    assert p50["verdict"] == "worse"
    assert "B is worse than A, by 6 runs of A and 6 of B" in (tmp_path / "c.html").read_text()


def test_compare_refuses_what_is_not_comparable(
    typed: Typed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another plan, an invalid record; `--anyway` compares them, and says what was against it."""
    a = recorded(tmp_path / "a", 1)
    b = recorded(tmp_path / "b", 1, plan={"load": 9}, invalid=["it throttled"])
    assert typed("compare", a, b) == 2
    said = capsys.readouterr().err
    assert "plan.load" in said
    assert "it throttled" in said
    assert typed("compare", a, b, "--anyway") == 0
    said = capsys.readouterr().out
    assert "compared anyway: b-0 is invalid: it throttled" in said
    assert "make six of each" in said


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    """To the last digit, histograms included."""
    recorded(tmp_path, 1)
    found = read(tmp_path / "0.json")
    assert isinstance(found, Record)
    write(tmp_path / "again.json", found)
    assert read(tmp_path / "again.json") == found


def test_the_plan_is_toml_that_reads_back() -> None:
    """Also strange names and nested tables; None is left out."""
    import tomllib

    plan = {"name": 'q"uo\\te', "rate": 1.5, "odd key": True, "none": None, "list": [1, 2], "mixed": [{"a": 1}, 2],
            "load": [{"users": 3, "name": "é\n"}, {"rate": 4.0}], "warm_up": {"s": 2, "deep": {"x": []}}}  # fmt: skip
    wanted = {name: value for name, value in plan.items() if value is not None}
    assert tomllib.loads(toml_of(plan)) == wanted
