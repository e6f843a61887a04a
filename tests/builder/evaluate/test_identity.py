"""Kept answers are those of what is there now: whatever decides an answer changes its side's identity."""

from pathlib import Path

import pytest

from builder.evaluate import identity
from builder.evaluate.identity import own_sources, settings_identity
from builder.evaluate.sides import FrameworkSide, GraphSide, SideName, source_side
from builder.progress import Progress
from builder.recipes.parts import Part
from builder.recipes.recipe import recipe_from_folder
from builder.sources.openmmlab import OpenMMLab
from builder.sources.sdk_bundle import SdkBundleSource
from tests.builder.parity.sides import classifier

FAKE = """#!/bin/sh
cat "$0.versions"
"""


@pytest.fixture
def training(tmp_path: Path) -> OpenMMLab:
    """A configuration that stands on others, and names its classes in a file."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "net.py").write_text(
        "_base_ = ['../base/model.py']\nwith read_base():\n    from ..base.schedule import *\n"
        "data = dict(test=dict(classes='classes.txt'))\ncustom_imports = dict(imports=['own'])\n"
    )
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.py").write_text("_base_ = './deeper.yaml'\n")
    for name in (
        "base/deeper.yaml",
        "base/schedule.py",
        "config/classes.txt",
        "config/own.py",
        "labels.txt",
        "net.pth",
    ):
        (tmp_path / name).write_text("# one\n")
    return OpenMMLab.model_validate_json(
        f'''{{"kind": "openmmlab", "config": "{tmp_path}/config/net.py", "labels": "{tmp_path}/labels.txt",
        "checkpoint": {{"file": "net.pth"}}}}'''
    )


@pytest.mark.parametrize(
    "name",
    [
        "config/net.py",
        "base/model.py",
        "base/deeper.yaml",
        "base/schedule.py",
        "config/classes.txt",
        "config/own.py",
        "labels.txt",
    ],
)
def test_the_source_is_its_files_not_their_names(training: OpenMMLab, tmp_path: Path, name: str) -> None:
    """The configuration, those that it stands on, modules beside it, and lists of labels."""
    before = settings_identity(training)
    assert settings_identity(training) == before
    with (tmp_path / name).open("a") as file:
        file.write("# another\n")
    assert settings_identity(training) != before


def test_a_folder_is_all_that_is_in_it(tmp_path: Path) -> None:
    """A bundle, for example."""
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "end2end.onnx").write_bytes(b"one")
    bundle: Part = SdkBundleSource.model_validate({"kind": "sdk-bundle", "bundle": tmp_path / "sdk"})
    before = settings_identity(bundle)
    (tmp_path / "sdk" / "end2end.onnx").write_bytes(b"two")
    assert settings_identity(bundle) != before


def test_a_framework_is_its_versions_and_its_checkpoint(
    tmp_path: Path, training: OpenMMLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another torch, or another training under the same file name, answers otherwise."""
    python = tmp_path / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    monkeypatch.setenv("JETSERVE_FRAMEWORKS_PYTHON", str(python))
    (tmp_path / "recipe.yaml").write_text(
        "name: toy\nsource: {kind: openmmlab, config: config/net.py, checkpoint: {file: net.pth}}\n"
        "parity: {images: [x], tolerances: {fp32: {pixels: 0, score: 0}}}\n"
    )

    def side() -> FrameworkSide:
        quiet = Progress(lambda step, text: None)
        made = source_side(recipe_from_folder(tmp_path), classifier()[0].contract, None, False, quiet)
        assert isinstance(made, FrameworkSide)
        return made

    (tmp_path / "python.versions").write_text("torch 2.13.0\n")
    first = side().identity
    assert side().identity == first
    (tmp_path / "python.versions").write_text("torch 2.14.0\n")
    second = side().identity
    (tmp_path / "net.pth").write_bytes(b"another")
    assert len({first, second, side().identity}) == 3


def test_a_graph_is_also_what_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change to `vision` may change every answer of the published ONNX."""
    name: SideName = "onnx"
    side = classifier()[0]
    before = GraphSide(name, side, "toy").identity
    copy = tmp_path / "vision"
    copy.mkdir()
    for path in (identity.CHECKOUT / "vision").rglob("*.py"):
        (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(identity, "CHECKOUT", tmp_path)
    same = own_sources("vision")
    assert own_sources("vision") == same
    with (copy / "resize.py").open("a") as file:
        file.write("# another\n")
    assert own_sources("vision") != same
    identity.in_process.cache_clear()
    assert GraphSide(name, side, "toy").identity != before
    identity.in_process.cache_clear()
