"""`parity` as people call it: what it needs is looked at before the work, and what it leaves is swept."""

import os
import tempfile
from pathlib import Path

import pytest

from builder.__main__ import main as builder
from tests.builder.conftest import Builder

LEFT = "jetserve-parity-p1-abcd"


@pytest.fixture
def built(build: Builder, recipe: Path) -> Path:
    """A recipe whose model is published in the folder of the test."""
    assert build(recipe) == 0, build.err
    return recipe


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = builder(["parity", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_report_is_written_where_it_is_asked_for(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In folders that are made for it, however deep."""
    code, _, _ = said(capsys, built, "--out", tmp_path / "a" / "b")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "a/b/toy").iterdir()) == ["parity.html", "parity.json"]


def test_a_place_that_takes_no_report_is_found_before_the_work(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the folder would be: nothing is exported or compared."""
    (tmp_path / "reports").write_text("taken")
    code, out, err = said(capsys, built, "--out", tmp_path / "reports")
    assert code == 1
    assert out == ""
    assert "reports is no folder; give another --out" in err
    assert (tmp_path / "reports").read_text() == "taken"


@pytest.mark.parametrize("name", ["", "../toy", "toy/1"])
@pytest.mark.parametrize("command", ["parity", "evaluate"])
def test_a_name_that_is_none_is_refused(
    built: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    """An empty one too, which is not the same as none given."""
    recipe = (built / "recipe.yaml").read_text()
    data = '"evaluation": {"kind": "prefix", "images": "photos"}, "name"'
    (built / "recipe.yaml").write_text(recipe.replace('"name"', data, 1))
    assert builder([command, str(built), "--name", name]) == 1
    assert f"--name {name!r}: expected letters" in capsys.readouterr().err


def test_what_a_killed_comparison_left_is_swept(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next one, which leaves nothing itself."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch" / LEFT / "export").mkdir(parents=True)
    os.utime(tmp_path / "scratch" / LEFT, (0, 0))
    code, _, err = said(capsys, built)
    assert code == 0, err
    assert list((tmp_path / "scratch").iterdir()) == []
