import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

import builder.__main__ as command
from tests.builder.convolutions import FLOAT, build, classifier
from tests.devices.recorded import NAMES, device_of

GOLDEN = Path(__file__).with_name("golden")
BALLOON = Path(__file__).parents[3] / "recipes/balloon-rtmdet/sdk/end2end.onnx"


def troubled() -> onnx.ModelProto:
    """mmdeploy's TensorRT suppression behind an operator of opset 18, and pixels that are counted in whole numbers."""
    nodes = [
        helper.make_node("Mish", ["input"], ["mish"], name="activation"),
        helper.make_node("Cast", ["mish"], ["whole"], name="cast", to=onnx.TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["most"], name="most"),
        helper.make_node("TRTBatchedNMS", ["mish", "most"], ["output"], name="suppression", domain="mmdeploy"),
    ]
    shape: list[int | str] = ["batch", 9, 4]
    model = build(nodes, {"input": (FLOAT, shape)}, {"output": (FLOAT, shape)}, {}, 18)
    model.opset_import.append(helper.make_opsetid("mmdeploy", 1))
    return model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where three networks lie: the shipped RTMDet as mmdeploy exports it, a troubled one and a folded classifier."""
    (tmp_path / "balloon.onnx").symlink_to(BALLOON)
    onnx.save(troubled(), tmp_path / "troubled.onnx")
    onnx.save(classifier(), tmp_path / "classifier.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_recipe(folder: Path) -> None:
    """The shipped bundle in a recipe of its own, one photo to be compared on."""
    text = (
        f"name: balloon\nsource: {{kind: sdk-bundle, bundle: {BALLOON.parent}}}\n"
        f"parity:\n  images: [{BALLOON.parents[2]}/photos/balloons-large.jpg]\n"
        "  tolerances: {fp32: {pixels: 0, score: 0.001, iou: 0.99, unmatched: 0}}\n"
    )
    folder.mkdir()
    (folder / "recipe.yaml").write_text(text)


NETWORKS = ("balloon.onnx", "troubled.onnx", "classifier.onnx")


@pytest.mark.parametrize("name", NAMES)
def test_each_recorded_device_says_the_same_as_it_did(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its report; what was said of it was read by a person. A machine without TensorRT is told so."""
    (folder / "device.json").write_text(device_of(name, folder / "root").to_json())
    code = command.main(["lint", *NETWORKS, "--device", "device.json", "--max-batch", "8"])
    out, err = capsys.readouterr()
    golden = GOLDEN / f"{name}.txt"
    assert f"exit code {code}\n{out}{err}" == golden.read_text()


def test_as_json_it_holds_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts: the version, who said it, the table's source, and every finding in parts."""
    assert command.main(["lint", *NETWORKS, "--jetpack", "5.1.2", "--max-batch", "8", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["tensorrt"], document["according_to"]) == ("8.5.2", "JetPack 5.1.2")
    assert document["operators"].startswith("https://github.com/onnx/onnx-tensorrt")
    balloon, trouble, clean = document["models"]
    assert (balloon["model"], balloon["fails"], balloon["warns"]) == ("balloon.onnx", 2, 1)
    assert clean == {"model": "classifier.onnx", "fails": 0, "warns": 0, "findings": []}
    [custom] = [item for item in trouble["findings"] if "suppression" in item["where"]]
    assert custom["level"] == "fail"
    assert "ONNX Runtime deploy config" in custom["remedy"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "'nothing' is no .onnx file, no recipe, and no model in model_repository_jetson"),
        (["missing.onnx"], "cannot read missing.onnx: No such file or directory"),
        (["broken.onnx"], "broken.onnx is not a whole ONNX file"),
        (["."], "is a folder without a recipe.yaml"),
        (["classifier.onnx", "--device", "missing.json"], "cannot read missing.json"),
        (["classifier.onnx", "--device", "troubled.onnx"], "not a report of a device"),
        (["classifier.onnx", "--jetpack", "4.6"], "JetPack 4.6 is in no row of versions.env"),
    ],
)
def test_what_cannot_be_looked_at_is_told(
    arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, with what was expected; exit code 1."""
    whole = (folder / "classifier.onnx").read_bytes()
    (folder / "broken.onnx").write_bytes(whole[: len(whole) // 2])
    target = [] if any(option.startswith("--") for option in arguments) else ["--tensorrt", "8.6"]
    assert command.main(["lint", *arguments, *target]) == 1
    assert words in capsys.readouterr().err


def test_a_recipe_is_prepared_as_for_a_device_and_nothing_is_published(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ONNX is refused by 8.5 as it came; what `build --target jetson` makes of it is not. Its model, too."""
    write_recipe(folder / "own")
    assert command.main(["lint", "own", "--tensorrt", "8.5.2"]) == 0
    assert capsys.readouterr().out == "TensorRT 8.5.2 (--tensorrt)\n\nown: clean\n"
    assert not list(folder.glob("model_repository*"))
    assert command.main(["lint", str(BALLOON), "--tensorrt", "8.5.2", "--max-batch", "8"]) == 1
    assert command.main(["build", "own", "--target", "jetson", "--tensorrt", "8.5.2"]) == 0
    capsys.readouterr()
    assert command.main(["lint", "balloon", "--tensorrt", "8.5.2"]) == 0
    assert "model_repository_jetson/balloon: clean" in capsys.readouterr().out


def test_a_build_for_a_device_stops_where_lint_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same words, and before anything is published."""
    write_recipe(folder / "own")
    assert command.main(["build", "own", "--target", "jetson", "--jetpack", "5.0.2"]) == 1
    err = capsys.readouterr().err
    assert "failed at check: TensorRT 8.4 refuses the graph:" in err
    assert "input 'input': it is uint8" in err
    assert "/NonMaxSuppression (NonMaxSuppression): " in err
    assert not list(folder.glob("model_repository*"))


def test_one_target_must_be_named_and_only_one(folder: Path) -> None:
    """There is no TensorRT that everybody has."""
    for options in ([], ["--tensorrt", "8.6", "--jetpack", "6.0"], ["--tensorrt", "latest"]):
        with pytest.raises(SystemExit) as caught:
            command.main(["lint", "classifier.onnx", *options])
        assert caught.value.code == 2


def test_weights_in_another_file_are_read(folder: Path) -> None:
    """Large exports have them beside the graph."""
    model = classifier()
    onnx.save(model, folder / "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert command.main(["lint", "split.onnx", "--tensorrt", "8.6", "--max-batch", "4"]) == 0
