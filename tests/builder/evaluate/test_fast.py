"""`decode: fast`: a recipe may ask for it, its contract says so, parity does without, `evaluate` says what it costs."""

import json
from pathlib import Path

import pytest
import yaml

from builder.__main__ import main as builder
from builder.evaluate.samples import Sample
from builder.evaluate.sides import GraphSide
from builder.progress import Progress
from builder.verify import Side
from vision.contract import contract_from_json

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
LARGE = ROOT / "recipes" / "photos" / "balloons-large.jpg"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that asks for it, built in its own folder, with one photo that is large enough."""
    folder = tmp_path_factory.mktemp("fast")
    tolerance = {"pixels": 0, "outputs": 0.001, "score": 0.001, "iou": 0.99, "unmatched": 0}
    document = {
        "name": "fast",
        "source": {"kind": "sdk-bundle", "bundle": str(BUNDLE)},
        "serve": {"score_threshold": 0.3, "decode": "fast"},
        "parity": {"images": [str(LARGE)], "tolerances": {"fp32": tolerance}},
        "evaluation": {"kind": "coco", "images": "pictures", "annotations": "boxes.json"},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document))
    (folder / "pictures").symlink_to(LARGE.parent)
    box = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 10, 500, 500], "area": 250_000, "iscrowd": 0}
    images, categories = [{"id": 0, "file_name": LARGE.name}], [{"id": 1, "name": "balloon"}]
    (folder / "boxes.json").write_text(json.dumps({"images": images, "annotations": [box], "categories": categories}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert builder(["build", str(folder), "--repository", str(folder / "models")]) == 0
    return folder


def test_the_contract_says_fast_and_parity_was_held_exactly(built: Path) -> None:
    """Pixels agree to the value on a photo that serving would scale down, and the report says why that is no proof."""
    version = built / "models" / "fast" / "1"
    assert contract_from_json((version / "contract.json").read_bytes()).decode == "fast"
    parity = json.loads((version / "parity.json").read_text())
    assert parity["failures"] == []
    [note] = [note for note in parity["notes"] if "decode: fast" in note]
    assert "every pixel was decoded here" in note


def test_evaluate_asks_both_ways(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is served it is measured unasked, beside exact decoding, with what it costs."""
    monkeypatch.chdir(built)
    asked = ["evaluate", str(built), "--data", str(built), "--repository", "models", "--server", "http://127.0.0.1:9"]
    assert builder(asked) == 0
    assert "fast - source" in capsys.readouterr().out
    kept = json.loads((built / "models" / "fast" / "1" / "evaluation.json").read_text())
    assert list(kept["sides"]) == ["source", "onnx", "fast"]
    assert kept["sides"]["fast"]["who"].endswith("large JPEGs scaled down")
    with pytest.raises(SystemExit):
        builder([*asked, "--sides", "onnx,slow"])
    assert "expected some of source,onnx,fast,server" in capsys.readouterr().err


def test_the_two_sides_see_other_pixels(built: Path) -> None:
    """Whatever the contract says, `onnx` decodes exactly and `fast` does not; the boxes are near each other."""
    version = built / "models" / "fast" / "1"
    contract = contract_from_json((version / "contract.json").read_bytes())
    side = Side((version / "model.onnx").read_bytes(), contract)
    answers = {}
    with Progress(lambda *_: None).step("sides") as step:
        for name in ("onnx", "fast"):
            asked = GraphSide(name, side, name)
            [(_, answers[name])] = asked.answers([Sample(LARGE.name, LARGE)], step)
            assert asked.side.contract.decode == ("fast" if name == "fast" else "exact")
        assert GraphSide("onnx", side, "").identity != GraphSide("fast", side, "").identity
    assert answers["onnx"] != answers["fast"]
    boxes = {name: answer.boxes for name, answer in answers.items()}
    assert boxes["onnx"] is not None
    assert boxes["fast"] is not None
    assert any(fast == pytest.approx(boxes["onnx"][0], abs=25) for fast in boxes["fast"])


def test_a_recipe_that_says_nothing_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import, too; `--decode fast` asks for it there."""
    monkeypatch.chdir(tmp_path)
    for arguments, decode in (([], "exact"), (["--decode", "fast"], "fast")):
        assert builder(["import", str(BUNDLE), "--name", decode, "--repository", "models", *arguments]) == 0
        contract = contract_from_json((tmp_path / "models" / decode / "1" / "contract.json").read_bytes())
        assert contract.decode == decode
