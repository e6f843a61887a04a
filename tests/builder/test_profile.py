"""`profile`: the table of a served version, made in this process."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from builder.__main__ import main
from builder.profile import LOAD, POSTPROCESS, WARM_UP, Pipeline, profile_of_model, rows_from_laps
from tests.builder.conftest import Importer
from tests.builder.networks import LETTERBOX, STRETCH, classifier, detector, write_bundle
from vision.errors import BuildError

HEADER = ["name", "occupy", "usage", "n_call", "t_mean", "t_50%", "t_90%"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8))
    return path


@pytest.fixture
def repository(importer: Importer, tmp_path: Path) -> Path:
    square: list[dict[str, Any]] = [step | ({"size": [48, 48]} if "size" in step else {}) for step in LETTERBOX]
    importer(write_bundle(tmp_path / "detector", detector(size_hw=(48, 48)), transforms=square), "boxes")
    bundle = write_bundle(
        tmp_path / "classifier", classifier(), task="Classifier", transforms=STRETCH, labels="a\nb\nc\nd\n"
    )
    importer(bundle, "classes", fold=False)
    return importer.repository


def test_the_table(repository: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pipeline, what is done before the network step by step, the network by the model's name, what follows."""
    assert main(["profile", "boxes", "--repository", str(repository), "--photo", str(photo), "-n", "7"]) == 0
    told, *lines = capsys.readouterr().out.splitlines()
    assert told.startswith("boxes version 1, fp32, on photo.jpg (300x200); ")
    cells = [line.split() for line in lines]
    assert cells[0] == HEADER
    names = ["pipeline", "Preprocess", "LoadImageFromFile", "ResizeKeepRatio", "PadToSize", "boxes", "Postprocess"]
    assert [row[0] for row in cells[1:]] == names
    assert {row[3] for row in cells[1:]} == {"7"}
    assert [row[1] == "-" for row in cells[1:]] == [True, True, False, False, False, False, False]
    assert len({len(line) for line in lines}) == 1  # columns stand below each other


def test_steps_that_are_done_in_one_pass(repository: Path, photo: Path) -> None:
    """Colour and normalisation, which are not folded here, go into the planes at once and are one row."""
    names = [row.name for row in profile_of_model(repository, "classes", photo, 3).rows]
    assert names == [
        "pipeline",
        "Preprocess",
        "LoadImageFromFile",
        "ResizeStretch",
        "ToRgb + Normalise",
        "classes",
        "Postprocess",
    ]


def test_the_parts_are_the_whole(repository: Path, photo: Path) -> None:
    """Shares add up to 1, and times to the pipeline's, within 3 %."""
    rows = {row.name: row for row in profile_of_model(repository, "boxes", photo, 20).rows}
    leaves = [row for row in rows.values() if row.occupy is not None]
    assert sum(row.occupy or 0 for row in leaves) == pytest.approx(1, abs=0.03)
    assert sum(row.t_mean for row in leaves) == pytest.approx(rows["pipeline"].t_mean, rel=0.03)
    before = [row for row in leaves if row.name not in ("boxes", POSTPROCESS)]
    assert sum(row.t_mean for row in before) == pytest.approx(rows["Preprocess"].t_mean, rel=0.03)
    assert all(0 < row.t_50 <= row.t_90 for row in rows.values())


def test_laps_are_all_the_time_there_is(repository: Path, photo: Path) -> None:
    """What a clock outside shows for a photo is what its laps add up to, within 3 % of the usual photo."""
    pipeline = Pipeline(repository / "boxes" / "1", "boxes", threads=0)
    ratios = []
    for _ in range(30):
        start_s = time.perf_counter()
        laps = pipeline(photo)
        whole_s = time.perf_counter() - start_s
        ratios.append(sum(wall_s for wall_s, _ in laps.values()) / whole_s)
    assert np.median(ratios) == pytest.approx(1, abs=0.03)


def test_rows_are_worked_out_from_laps() -> None:
    """Shares of the pipeline's time, usage with the time of all cores, mean, median and 90th percentile in ms."""
    laps = [
        {LOAD: (0.001, 0.001), "net": (0.008, 0.016), POSTPROCESS: (0.001, 0.001)},
        {LOAD: (0.003, 0.003), "net": (0.006, 0.012), POSTPROCESS: (0.001, 0.001)},
    ]
    rows = {row.name: row for row in rows_from_laps(laps, "net")}
    assert list(rows) == ["pipeline", "Preprocess", LOAD, "net", POSTPROCESS]
    assert [row.depth for row in rows.values()] == [0, 1, 2, 1, 1]
    net = rows["net"]
    assert [net.occupy, net.usage] == pytest.approx([0.7, 1.4])
    assert [net.n_call, net.t_mean, net.t_50, net.t_90] == pytest.approx([2, 7, 7, 7.8])
    assert rows["pipeline"].t_mean == pytest.approx(10)


def test_the_first_runs_are_not_counted(repository: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some runs come before those that are timed."""
    runs: list[int] = []
    once = Pipeline.__call__

    def counted(self: Pipeline, path: Path) -> object:
        runs.append(1)
        return once(self, path)

    monkeypatch.setattr(Pipeline, "__call__", counted)
    assert profile_of_model(repository, "boxes", photo, 4).rows[0].n_call == 4
    assert len(runs) == WARM_UP + 4


def test_as_json(repository: Path, photo: Path, tmp_path: Path) -> None:
    """The same figures, with what they depend on."""
    out = tmp_path / "profile.json"
    arguments = ["profile", "boxes", "--repository", str(repository), "--photo", str(photo), "-n", "2"]
    assert main([*arguments, "--json", str(out)]) == 0
    profile = json.loads(out.read_text())
    assert (profile["model"], profile["version"], profile["photo"]) == ("boxes", 1, "photo.jpg")
    wanted = {"photo_hw", "processor", "cores", "threads", "precision", "model_sha256", "onnxruntime", "opencv"}
    assert set(profile["conditions"]) == wanted
    assert profile["conditions"]["photo_hw"] == [200, 300]
    assert profile["rows"][0]["name"] == "pipeline"
    assert set(profile["rows"][0]) == {"name", "depth", "occupy", "usage", "n_call", "t_mean", "t_50", "t_90"}


def test_at_a_terminal(
    repository: Path, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the table is drawn, and as narrow as a terminal is."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["profile", "boxes", "--repository", str(repository), "--photo", str(photo), "-n", "2"]) == 0
    out = capsys.readouterr().out
    assert "┃" in out
    assert "LoadImageFromFile" in out


def test_the_threads_that_are_served(
    importer: Importer, tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network runs with as many threads as it is served with: the version's own, or those that were set since."""
    from builder.publishing.triton_config import Serving

    used = []
    session = ort.InferenceSession

    def counted(model: bytes, options: ort.SessionOptions, **more: Any) -> ort.InferenceSession:
        used.append(options.intra_op_num_threads)
        return session(model, options, **more)

    importer(write_bundle(tmp_path / "detector"), "boxes", serving=Serving(threads=3))
    monkeypatch.setattr(ort, "InferenceSession", counted)
    assert profile_of_model(importer.repository, "boxes", photo, 1).conditions["threads"] == 3
    assert main(["configure", "boxes", "--threads", "2", "--repository", str(importer.repository)]) == 0
    assert profile_of_model(importer.repository, "boxes", photo, 1).conditions["threads"] == 2
    assert used == [3, 2]


def test_what_cannot_be_profiled(
    repository: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is not there, a photo that is none, a damaged graph, and no runs at all: each says what to do."""
    with pytest.raises(BuildError, match="serves no model 'nothing'; it has boxes, classes"):
        profile_of_model(repository, "nothing", photo, 1)
    with pytest.raises(BuildError, match=r"missing\.jpg"):
        profile_of_model(repository, "boxes", tmp_path / "missing.jpg", 1)
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    with pytest.raises(BuildError, match=r"text\.jpg"):
        profile_of_model(repository, "boxes", text, 1)
    (repository / "boxes" / "1" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BuildError, match=r"ONNX Runtime .* cannot load"):
        profile_of_model(repository, "boxes", photo, 1)
    with pytest.raises(SystemExit) as caught:
        main(["profile", "boxes", "-n", "0"])
    assert caught.value.code == 2
    assert "0 is not between 1 and" in capsys.readouterr().err
