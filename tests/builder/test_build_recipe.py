import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.recipes.recipe import recipe_from_folder
from builder.sources.onnx import OnnxSource
from builder.sources.openmmlab import OpenMMLab
from builder.sources.sdk_bundle import SdkBundleSource
from tests.builder.recipes import TOLERANCE, onnx_source, write_recipe
from vision.errors import BuildError

ROOT = Path(__file__).parents[2]
TENFOLD = [(f"&a{number}", ", ".join([f"*a{number - 1}"] * 10)) for number in range(1, 12)]
LAUGHS = "first: &a0 [lol]\n" + "".join(f"{name[1:]}: {name} [{ten}]\n" for name, ten in TENFOLD)
MERGED = "first: &a0 {k: lol}\n" + "".join(f"{name[1:]}: {name} {{<<: [{ten}]}}\n" for name, ten in TENFOLD)
"""Each line stands for ten of the one before."""


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(BuildError) as caught:
        recipe_from_folder(folder)
    assert caught.value.step == "read"
    for part in parts:
        assert part in caught.value.detail, caught.value


def test_a_recipe_is_read_with_its_paths_made_absolute(tmp_path: Path) -> None:
    """Paths are relative to the recipe, wherever the command is run."""
    recipe = recipe_from_folder(write_recipe(tmp_path / "toy"))
    assert isinstance(recipe.source, SdkBundleSource)
    assert recipe.source.bundle == (tmp_path / "toy" / "bundle").resolve()
    assert recipe.folder == (tmp_path / "toy").resolve()
    assert recipe.parity.tolerances["fp32"].score == 1e-4


def test_the_kind_settles_the_sources_fields(tmp_path: Path) -> None:
    """Each kind has its own settings, and labels may stand in the recipe or in a file beside it."""
    recipe = recipe_from_folder(write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare")))
    assert isinstance(recipe.source, OnnxSource)
    assert recipe.source.labels == ("a", "b", "c", "d")
    (tmp_path / "config.py").touch()
    source = {"kind": "openmmlab", "config": "../config.py", "checkpoint": {"random": 3}}
    recipe = recipe_from_folder(write_recipe(tmp_path / "mm", source))
    assert isinstance(recipe.source, OpenMMLab)
    assert recipe.source.config == tmp_path / "config.py"


@pytest.mark.parametrize("field", ["name", "source", "parity"])
def test_each_missing_field_is_named(tmp_path: Path, field: str) -> None:
    """A recipe without it does not say enough to build."""
    refused(write_recipe(tmp_path, without=field), "recipe.yaml", field, "required")


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"colour": "red"}, ["colour", "not permitted"]),
        ({"source": {"kind": "caffe"}}, ["source", "caffe", "openmmlab"]),
        ({"source": {"kind": "sdk-bundle", "bundle": "nowhere"}}, ["bundle", "nowhere does not exist in"]),
        ({"source": {"kind": "sdk-bundle", "bundle": "bundle", "labelz": 1}}, ["labelz", "not permitted"]),
        ({"serve": {"score_threshold": 2}}, ["serve.score_threshold"]),
        ({"serve": {"top_k": "5"}}, ["serve.top_k"]),
        ({"name": "../up"}, ["name", "expected letters"]),
        ({"parity": {"images": [], "tolerances": {}}}, ["parity.images"]),
        ({"parity": {"images": ["x"], "tolerances": {"fp64": TOLERANCE}}}, ["fp64"]),
        ({"parity": {"images": ["x"], "tolerances": {"fp32": {"pixels": 0}}}}, ["fp32.score", "required"]),
        ({"calibration": {"images": []}}, ["calibration.images"]),
        ({"evaluation": {"kind": "guess"}}, ["evaluation", "guess"]),
        (
            {"source": {"kind": "openmmlab", "config": "c.py", "checkpoint": {"random": 0}, "labels_checked": False}},
            ["expected labels: FILE"],
        ),
    ],
)
def test_each_wrong_field_is_named(tmp_path: Path, changed: dict[str, Any], parts: list[str]) -> None:
    """Unknown fields and values out of range are errors that name the field."""
    tmp_path.joinpath("c.py").touch()
    refused(write_recipe(tmp_path, **changed), *parts)


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "name: !!python/object:os.system x", "\x00"])
def test_what_is_no_recipe_at_all_is_refused(tmp_path: Path, text: str) -> None:
    """No YAML, or YAML of something else."""
    write_recipe(tmp_path)
    (tmp_path / "recipe.yaml").write_text(text)
    refused(tmp_path, "recipe.yaml")


def test_a_folder_without_a_recipe_is_named(tmp_path: Path) -> None:
    """The message says which file was expected where."""
    refused(tmp_path, f"{tmp_path} holds no recipe.yaml")


@pytest.mark.parametrize("folder", sorted((ROOT / "recipes").glob("*/recipe.yaml")), ids=lambda path: path.parent.name)
def test_every_recipe_of_the_project_is_whole(folder: Path) -> None:
    """All fields known, all files there, an fp32 tolerance, and photos that every clone has."""
    recipe = recipe_from_folder(folder.parent)
    assert "fp32" in recipe.parity.tolerances
    assert json.dumps(recipe.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1, 2], "source.labels.0 is the number 1, expected text: quote it"),
        (["a", True], "source.labels.1 is the value true (yes, no, on and off are values in YAML), expected text"),
        (["a", " "], "source.labels.1 is the text ' ': a label must not be empty"),
        (["a\nb"], "source.labels.0 is the text 'a\\nb': a label must be printable"),
        (["a\x1b[31m"], "must be printable"),
        ([], "source.labels"),
        ("nowhere.txt", "source.labels is the text 'nowhere.txt': nowhere.txt does not exist"),
    ],
)
def test_labels_in_the_recipe_are_held_to_what_a_file_is(tmp_path: Path, labels: Any, said: str) -> None:
    """By their place in the file, without a word of how it is read."""
    folder = write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare", labels=labels))
    with pytest.raises(BuildError) as caught:
        recipe_from_folder(folder)
    assert said in caught.value.detail
    assert "onnx" not in caught.value.detail
    assert "tuple" not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1", "the file is a list of 1, expected fields"),
        ("name: a\nname: b\n", "'name' stands in line 1 and again in line 2"),
        ("serve: {top_k: 1, top_k: 2}", "'top_k' stands in line 1"),
        ("[" * 100_000, "nested too deep"),
        (LAUGHS, "its aliases (*name) make it grow by more than 1048576 characters: write out what is meant"),
        (MERGED, "its aliases (*name)"),
        ("name: &a [*a]", "an alias stands within what it names"),
    ],
)
def test_what_is_wrong_with_the_whole_file(tmp_path: Path, text: str, said: str) -> None:
    """No empty field names; and a key twice is a mistake, not the last one's victory."""
    write_recipe(tmp_path)
    (tmp_path / "recipe.yaml").write_text(text)
    refused(tmp_path, said)


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    """Aliases as people write them, once or twice, are YAML like any other."""
    write_recipe(tmp_path)
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    recipe["parity"]["tolerances"]["fp16"] = recipe["parity"]["tolerances"]["fp32"]
    (tmp_path / "recipe.yaml").write_text(text := yaml.safe_dump(recipe))
    assert "*id001" in text
    tolerances = recipe_from_folder(tmp_path).parity.tolerances
    assert tolerances["fp16"] == tolerances["fp32"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_batch", 1_000_000_000),
        ("instances", 100_000),
        ("threads", 100_000),
        ("top_k", 1_000_000),
        ("max_detections", 10_001),
    ],
)
def test_serve_has_the_bounds_of_the_command_line(tmp_path: Path, field: str, value: int) -> None:
    """A number that no Triton takes is refused when the recipe is read."""
    refused(write_recipe(tmp_path, serve={field: value}), f"serve.{field} is the number {value}, expected less than")


def test_a_checkpoint_of_no_kind_is_named(tmp_path: Path) -> None:
    """One sentence with the kinds, and one wrong field is told of its own kind only."""
    (tmp_path / "config.py").touch()
    source = {"kind": "openmmlab", "config": "config.py", "checkpoint": {"fil": "a.pth"}}
    refused(write_recipe(tmp_path, source), "source.checkpoint is fields: expected one of file, url, package")
    with pytest.raises(BuildError) as caught:
        recipe_from_folder(write_recipe(tmp_path, {**source, "checkpoint": {"file": "a.pth", "sha256": "b"}}))
    assert "source.checkpoint.sha256" in caught.value.detail
    assert "random" not in caught.value.detail
