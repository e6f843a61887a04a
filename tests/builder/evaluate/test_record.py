"""`evaluation.json` beside a version: whole or not at all, and of that version alone."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from builder.evaluate.evaluation import Evaluated, SideFigures
from builder.evaluate.record import write_aside, write_beside_version
from builder.evaluate.samples import Dataset, Sample
from tests.builder.parity.sides import classifier
from vision.errors import BuildError

DATA = Dataset("folders", "classification", (Sample("a.jpg", Path("a.jpg"), label="a"),), "f" * 64)


def evaluated(**figures: float) -> Evaluated:
    """Sides with their top-1."""
    sides = {name: SideFigures(name, {"top-1": value}, "2026-01-01T00:00:00+00:00") for name, value in figures.items()}
    return Evaluated("m", classifier()[0].contract, DATA, sides, "images", {"a.jpg": "0" * 64})


def test_sides_that_are_asked_later_join_the_table(tmp_path: Path) -> None:
    """`--sides onnx` after the whole: the others stay, and what conversion cost is counted anew."""
    path = tmp_path / "evaluation.json"
    assert write_beside_version(path, evaluated(source=0.9, onnx=0.8, server=0.7)) is None
    note = write_beside_version(path, evaluated(onnx=0.85))
    assert note is not None
    assert "keeps the earlier figures of server, source" in note
    kept = json.loads(path.read_text())
    assert list(kept["sides"]) == ["source", "onnx", "server"]
    assert {name: side["figures"]["top-1"] for name, side in kept["sides"].items()} == {
        "source": 0.9,
        "onnx": 0.85,
        "server": 0.7,
    }
    assert kept["sides"]["onnx"]["cost"] == {"top-1": -0.05}
    assert kept["summary"] == "top-1 source 0.900, onnx 0.850, server 0.700; 1 photos"


@pytest.mark.parametrize("change", ["build", "photos", "annotations", "form"])
def test_figures_of_something_else_are_replaced(tmp_path: Path, change: str) -> None:
    """Another build, other photos or annotations, or a file of another form: said, and not mixed."""
    path = tmp_path / "evaluation.json"
    before = evaluated(source=0.9)
    if change == "build":
        provenance = before.contract.provenance.model_copy(update={"model_sha256": "2" * 64})
        before = replace(before, contract=before.contract.model_copy(update={"provenance": provenance}))
    if change == "photos":
        before = replace(before, photos={"a.jpg": "1" * 64})
    if change == "annotations":
        before = replace(before, dataset=replace(DATA, fingerprint="e" * 64))
    write_beside_version(path, before)
    if change == "form":
        path.write_text('{"sides": []}')
    note = write_beside_version(path, evaluated(onnx=0.8))
    assert note is not None
    assert "is replaced" in note
    assert list(json.loads(path.read_text())["sides"]) == ["onnx"]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    path = tmp_path / "evaluation.json"
    write_aside(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BuildError, match="No space left"):
        write_aside(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["evaluation.json"]
    assert path.read_text() == "old"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(BuildError, match="nowhere"):
        write_beside_version(tmp_path / "nowhere" / "evaluation.json", evaluated(onnx=0.8))
