"""The command: what it says, writes and refuses."""

import functools
import json
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.commands import tune
from loadtest.tune import tuning, turns
from loadtest.tune.tuning import Telling
from tests.loadtest.made_search import MODEL, InMemory, Made, every_5_s, quick

RECIPE = "name: tuned    # by hand\nparity:\n  images: [a.jpg]\n"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """A model without a Triton, measured by `quick`, in turns of 5 s."""
    served = InMemory()
    monkeypatch.setattr(tuning, "ServedModel", lambda *_: served)
    monkeypatch.setattr(turns, "run", Made(served, rate=quick))
    monkeypatch.setattr(tune, "Telling", functools.partial(Telling, clock=every_5_s()))
    return served


def test_it_says_what_to_run_and_writes_a_page_and_the_recipe(
    served: InMemory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The winner's settings in the commands, in the record and in the recipe, whose comment stays."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    arguments = [
        "tune",
        MODEL,
        "--budget",
        "200s",
        "--write",
        "--recipe",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    [record] = (tmp_path / "out").glob("tune_*Z.json")
    winner = json.loads(record.read_text())["winner"]["serving"]
    assert winner["preferred_batch"] == [2]
    assert f"python -m builder configure {MODEL} --instances {winner['instances']}" in said
    assert "better than what is served now: rate +" in said
    assert record.with_suffix(".html").exists()
    assert "name: tuned    # by hand\nserving:\n  cpu: {instances: " in recipe.read_text()
    assert "preferred_batch: [2]" in recipe.read_text()


def test_without_write_no_recipe_is_touched(served: InMemory, tmp_path: Path) -> None:
    """Nor looked for."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    assert main(["tune", MODEL, "--budget", "100s", "--out", str(tmp_path / "out")]) == 0
    assert recipe.read_text() == RECIPE


def test_what_cannot_be_is_refused_before_anything_is_tried(
    served: InMemory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An objective that cannot be read, a recipe that is not there."""
    assert main(["tune", MODEL, "--slo", "p99<", "--out", str(tmp_path)]) == 2
    assert main(["tune", "nobodys", "--write", "--out", str(tmp_path)]) == 2
    assert "--recipe FOLDER" in capsys.readouterr().err
    assert main(["tune", MODEL, "--restore", "--out", str(tmp_path)]) == 0
    assert "nothing to put back" in capsys.readouterr().out
