"""`evaluate` and `parity` as people call them, on a model built from the bundle that ships."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builder.__main__ import main as builder
from builder.publishing.repository import served_version
from tests.gateway.serving import no_settings, running_gateway
from tests.local_triton import LocalTriton

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / "recipes" / "photos"
BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
# Where the balloons were drawn in two of the pictures: x, y, width, height
BALLOONS = {
    "balloons-landscape.jpg": [[129, 104, 144, 184], [345, 82, 125, 160], [474, 199, 106, 135]],
    "balloons-portrait.jpg": [[64, 83, 193, 247], [257, 239, 160, 205]],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two pictures with five balloons."""
    folder = tmp_path_factory.mktemp("recipe")
    tolerance = {"pixels": 0, "outputs": 0.001, "score": 0.001, "iou": 0.99, "unmatched": 0}
    document = {
        "name": "evaluated",
        "source": {"kind": "sdk-bundle", "bundle": str(BUNDLE)},
        "serve": {"score_threshold": 0.3},
        "parity": {"images": [str(PICTURES / name) for name in BALLOONS], "tolerances": {"fp32": tolerance}},
        "evaluation": {"kind": "coco", "images": "pictures", "annotations": "boxes.json"},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document))
    (folder / "pictures").symlink_to(PICTURES)
    annotations = [
        {"id": 0, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image, boxes in enumerate(BALLOONS.values())
        for box in boxes
    ]
    images = [{"id": number, "file_name": name} for number, name in enumerate(BALLOONS)]
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "balloon"}]}
    (folder / "boxes.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="module")
def repository(recipe: Path, triton: LocalTriton) -> Iterator[Path]:
    """Where it has been built, and is served from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(recipe)
        assert builder(["build", str(recipe), "--repository", str(triton.repository)]) == 0
        triton.load("evaluated")
        yield triton.repository


@pytest.mark.triton
def test_source_onnx_and_server_in_one_table(
    recipe: Path, repository: Path, triton: LocalTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    """All three find the five balloons; the figures are kept with the version, and nothing was lost."""
    with no_settings(), running_gateway(triton.address) as gateway:
        arguments = ["evaluate", str(recipe), "--data", str(recipe), "--repository", str(repository)]
        assert builder([*arguments, "--server", gateway.url, "--out", str(recipe / "out.json")]) == 0
    shown = capsys.readouterr().out
    assert "server - source" in shown
    assert "Average Recall (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ]" in shown
    version = repository / "evaluated" / str(served_version(repository / "evaluated"))
    kept = json.loads((version / "evaluation.json").read_text())
    assert kept == json.loads((recipe / "out.json").read_text())
    assert list(kept["sides"]) == ["source", "onnx", "server"]
    half = "Average Precision (AP) @[ IoU=0.50 | area= all | maxDets=100 ]"
    assert kept["sides"]["source"]["figures"][half] > 0.95
    for side in ("onnx", "server"):
        assert kept["sides"][side]["cost"][half] == 0
    assert kept["sides"]["server"]["latency_ms"]["p50"] > 0
    assert list(version.glob(".evaluation*")) == []


@pytest.mark.triton
def test_without_a_server_its_column_is_left_out_and_said(
    recipe: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless it was asked for by name: then it is an error."""
    arguments = ["evaluate", str(recipe), "--data", str(recipe), "--repository", str(repository)]
    nobody = ["--server", "http://127.0.0.1:9"]
    assert builder([*arguments, *nobody, "--limit", "1"]) == 0
    assert "none at http://127.0.0.1:9: left out" in capsys.readouterr().out
    assert builder([*arguments, *nobody, "--sides", "server"]) == 1
    assert "no gateway at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.triton
def test_one_side_joins_the_table_and_other_weights_do_not(
    recipe: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--sides` asks some, and the others' figures stay; what `--checkpoint` gives is not this version's source."""
    arguments = ["evaluate", str(recipe), "--data", str(recipe), "--repository", str(repository)]
    kept = repository / "evaluated" / str(served_version(repository / "evaluated")) / "evaluation.json"
    kept.unlink(missing_ok=True)
    assert builder([*arguments, "--sides", "source"]) == 0
    assert builder([*arguments, "--sides", "onnx"]) == 0
    assert list(json.loads(kept.read_text())["sides"]) == ["source", "onnx"]
    assert "keeps the earlier figures of source" in capsys.readouterr().out
    before = kept.read_bytes()
    assert builder([*arguments, "--sides", "onnx", "--checkpoint", "other.pth", "--fresh"]) == 0
    assert "nothing beside the version: --checkpoint" in capsys.readouterr().out
    assert kept.read_bytes() == before


@pytest.mark.triton
def test_a_server_with_another_build_is_left_out_and_said(
    recipe: Path, repository: Path, triton: LocalTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures are not this version's: not in the table, not in the record; asked for by name it is an error."""
    arguments = ["evaluate", str(recipe), "--data", str(recipe), "--repository", str(repository)]
    assert builder(["build", str(recipe), "--repository", str(repository), "--no-fold"]) == 0
    try:
        version = repository / "evaluated" / str(served_version(repository / "evaluated"))
        with no_settings(), running_gateway(triton.address) as gateway:
            assert builder([*arguments, "--server", gateway.url]) == 0
            table, _, warnings = capsys.readouterr().out.rpartition("warning ")
            assert "server - source" not in table
            assert "server left out: " in warnings
            assert "load that: python -m clients load evaluated" in warnings
            assert list(json.loads((version / "evaluation.json").read_text())["sides"]) == ["source", "onnx"]
            assert builder([*arguments, "--server", gateway.url, "--sides", "server"]) == 1
            assert "is not the build in" in capsys.readouterr().err
    finally:
        assert builder(["rollback", "evaluated", "--repository", str(repository)]) == 0


@pytest.mark.triton
def test_parity_of_what_is_published(recipe: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Passes for what was built; fails, with the cause, for a version whose contract was tampered with."""
    arguments = ["parity", str(recipe), "--repository", str(repository), "--out", str(recipe / "reports")]
    assert builder([*arguments, "--photos", str(PICTURES / "tiny.jpg")]) == 0
    assert "1 images agree" in capsys.readouterr().out
    version = repository / "evaluated" / str(served_version(repository / "evaluated"))
    sound = (version / "contract.json").read_text()
    contract = json.loads(sound)
    contract["in_graph"] = [{"op": "to_rgb"}, *contract["in_graph"]]
    try:
        (version / "contract.json").write_text(json.dumps(contract))
        assert builder(arguments) == 1
    finally:
        (version / "contract.json").write_text(sound)
    assert "RGB and BGR are exchanged" in capsys.readouterr().err
    assert "Differs from its source" in (recipe / "reports/evaluated/parity.html").read_text()


def test_what_is_missing_is_told(tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe that was not built, one without data, and sides that there are not."""
    assert builder(["evaluate", str(recipe), "--repository", str(tmp_path)]) == 1
    assert "has no model 'evaluated'; build it first" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        builder(["evaluate", str(recipe), "--sides", "triton"])
    assert "expected some of source,onnx,fast,server" in capsys.readouterr().err
    assert builder(["parity", "nothing-of-the-kind"]) == 1
    assert "no recipe builds a model 'nothing-of-the-kind'" in capsys.readouterr().err
