"""What a search found, written into a recipe."""

import shutil
from pathlib import Path

import pytest

from builder.recipes.recipe import recipe_from_folder
from loadtest.tune.recipe import flow, recipe_of, with_serving, write
from tests.local_triton import ROOT
from vision.errors import InvalidArgument
from vision.serving import ServingSettings

SETTINGS = ServingSettings(instances=2, threads=1, preferred_batch=(2, 4), queue_delay_us=0)
LINE = "cpu: {instances: 2, threads: 1, preferred_batch: [2, 4], queue_delay_us: 0}"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A copy of the balloon's, with what it refers to."""
    shutil.copytree(
        ROOT / "recipes" / "balloon-rtmdet", tmp_path / "balloon-rtmdet", ignore=shutil.ignore_patterns("sdk")
    )
    shutil.copytree(ROOT / "recipes" / "photos", tmp_path / "photos")
    return tmp_path / "balloon-rtmdet" / "recipe.yaml"


@pytest.mark.parametrize(
    "serving",
    [
        "",
        "serving:\n  jetson: {instances: 3}    # measured\n",
        "serving:    # of each\n  cpu: {instances: 9, threads: 2}    # guess\n\n  # so\n  jetson: {instances: 3}\n",
        "serving:\n    cpu:\n        instances: 9\n        threads: 2\n    jetson:\n        instances: 3\n",
        "serving:\n    jetson:\n        instances: 3\n",
    ],
    ids=["none", "another target", "flow", "block", "another as block"],
)
def test_a_recipe_says_it_afterwards_and_all_else_stays(recipe: Path, serving: str) -> None:
    """The builder reads the settings from it; every comment and every other line is where it was."""
    before = recipe.read_text().replace("parity:\n", f"{serving}parity:\n", 1)
    recipe.write_text(before)
    jetson = recipe_from_folder(recipe.parent).settings_for("jetson")
    write(recipe, "cpu", SETTINGS)
    after = recipe_from_folder(recipe.parent)
    assert after.settings_for("cpu") == SETTINGS
    assert after.settings_for("jetson") == jetson
    gone = set(before.splitlines()) - set(recipe.read_text().splitlines())
    assert all("9" in line or "threads: 2" in line or line.strip() == "cpu:" for line in gone), gone
    assert {line.partition("#")[2] for line in before.splitlines()} <= {
        line.partition("#")[2] for line in recipe.read_text().splitlines()
    }
    write(recipe, "cpu", SETTINGS)
    assert recipe.read_text().count(LINE) == 1


def test_a_recipe_that_is_not_understood_is_left_alone(recipe: Path) -> None:
    """`serving` on one line: the message has what to write, and the file is as it was."""
    text = recipe.read_text() + "serving: {jetson: {instances: 3}}\n"
    recipe.write_text(text)
    with pytest.raises(InvalidArgument, match="instances: 2, threads: 1"):
        write(recipe, "cpu", SETTINGS)
    assert recipe.read_text() == text


def test_the_end_of_a_file_is_a_place_too() -> None:
    """A recipe without `parity` and without a last newline gets the settings behind all else."""
    assert with_serving("name: x", "cpu", SETTINGS) == f"name: x\nserving:\n  {LINE}\n"
    assert with_serving("serving:\n  jetson: {}", "cpu", SETTINGS) == f"serving:\n  jetson: {{}}\n  {LINE}\n"
    assert with_serving("serving:", "cpu", SETTINGS) == f"serving:\n  {LINE}\n"
    assert flow(ServingSettings(preferred_batch=())) == "{preferred_batch: []}"


def test_the_recipe_of_a_model_is_found_by_its_name(recipe: Path) -> None:
    """One recipe with the name is the model's; none, or two, is asked about."""
    assert recipe_of("balloon", recipe.parent.parent) == recipe
    with pytest.raises(InvalidArgument, match=r"no recipe .* --recipe FOLDER"):
        recipe_of("ballo", recipe.parent.parent)
    shutil.copytree(recipe.parent, recipe.parent.parent / "twin")
    with pytest.raises(InvalidArgument, match="2 recipes"):
        recipe_of("balloon", recipe.parent.parent)
