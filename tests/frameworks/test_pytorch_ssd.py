"""Detectors of pytorch-ssd: an `mb1-ssd` checkpoint, or its ONNX, held against pytorch-ssd's own predictor."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from builder.frameworks.job import Answer, Job
from builder.frameworks.pytorch_ssd.labels import foreground_labels
from builder.recipes.recipe import recipe_from_folder
from builder.sources.pytorch_ssd import PytorchSsdSource, source_from_settings
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, ROOT, End, ends_of, in_frameworks, odd_photos
from tests.frameworks.served import Served, on_photo
from vision.errors import BuildError

pytestmark = list(NEEDS_FRAMEWORKS)

RECIPE = ROOT / "recipes/plate-ssd-mobilenet"
DATA = Path(os.environ.get("JETSERVE_DATA", ROOT.parent / "shared/data"))
COCO = DATA / "models/ssd_mobilenet_v1_coco.onnx"
VOC = [f"class {number}" for number in range(20)]
ABOVE = {"voc": 0.6, "plate": 0.05}
PRIORS = """
import json, sys
from builder.frameworks.pytorch_ssd.priors import mb1_ssd_priors
json.dump(mb1_ssd_priors().tolist(), sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pytorch-ssd")
    in_frameworks([str(ROOT / "tests/frameworks/write_state_dicts.py"), str(folder)])
    return folder


def voc(folder: Path, checkpoint: str = "voc", labels: list[str] | None = None) -> Job:
    settings = {"labels": ["BACKGROUND", *VOC] if labels is None else labels}
    return Job("export", "pytorch-ssd", settings, folder / checkpoint, folder / f"{checkpoint}.pth")


@pytest.fixture(scope="module")
def exported(folder: Path) -> dict[str, tuple[Served, tuple[tuple[Path, Answer], ...]]]:
    """Of each model, what would be served, and photos with pytorch-ssd's own answers."""
    [weights] = RECIPE.glob("*.pth")
    plate = recipe_from_folder(RECIPE).source.model_dump(mode="json", exclude={"checkpoint"})
    jobs = {"voc": voc(folder), "plate": Job("export", "pytorch-ssd", plate, folder / "plate", weights)}
    photos = (*odd_photos(folder / "photos"), *sorted((ROOT / "recipes/photos").glob("car*")))
    infers = [
        replace(job, command="infer", out=folder / f"{name}-infer", photos=photos, score_floor=ABOVE[name])
        for name, job in jobs.items()
    ]
    assert ends_of(folder, *jobs.values(), *infers) == [None] * 4
    return {
        name: (
            Served(job.out),
            tuple((photo, Answer.load(infer.out / f"{number:05}.npz")) for number, photo in enumerate(photos)),
        )
        for (name, job), infer in zip(jobs.items(), infers, strict=True)
    }


def test_names_of_weights_are_those_of_pytorch_ssd(folder: Path) -> None:
    """What `train_ssd.py --net=mb1-ssd` saves for Pascal VOC, name by name and shape by shape, at its corners."""
    shapes = json.loads(
        in_frameworks(
            [
                "-c",
                f"import json, torch; print(json.dumps(torch.load({str(folder / 'shapes.pth')!r}, weights_only=True)))",
            ]
        )
    )
    batch_norms, convolutions = 1 + 2 * 13, 1 + 2 * 13
    assert len(shapes) == batch_norms * 5 + convolutions + 2 * (2 * 4 + 2 * 6)
    assert shapes["base_net.0.0.weight"] == [32, 3, 3, 3]
    assert shapes["base_net.0.1.running_mean"] == [32]
    assert shapes["base_net.13.0.weight"] == [1024, 1, 3, 3]
    assert shapes["base_net.13.3.weight"] == [1024, 1024, 1, 1]
    assert shapes["base_net.13.4.running_var"] == [1024]
    assert shapes["extras.0.0.weight"] == [256, 1024, 1, 1]
    assert shapes["extras.0.2.weight"] == [512, 256, 3, 3]
    assert shapes["extras.3.2.bias"] == [256]
    assert shapes["classification_headers.0.weight"] == [6 * 21, 512, 3, 3]
    assert shapes["classification_headers.1.weight"] == [6 * 21, 1024, 3, 3]
    assert shapes["regression_headers.5.weight"] == [6 * 4, 256, 3, 3]


def test_priors_are_those_of_pytorch_ssd() -> None:
    """Worked by hand: cells of 16 px on the first map (not 300 / 19), six shapes a cell, cut to the picture."""
    priors = np.array(json.loads(in_frameworks(["-c", PRIORS])))
    assert priors.shape == (3000, 4)
    side = 60 / 300
    first = [(side, side), (math.sqrt(60 * 105) / 300,) * 2]
    for ratio in (math.sqrt(2), math.sqrt(3)):
        first += [(side * ratio, side / ratio), (side / ratio, side * ratio)]
    np.testing.assert_allclose(priors[:6, :2], 8 / 300, atol=1e-6)
    np.testing.assert_allclose(priors[:6, 2:], first, atol=1e-6)
    np.testing.assert_allclose(priors[6, :2], [24 / 300, 8 / 300], atol=1e-6)  # along the row first
    np.testing.assert_allclose(priors[18 * 6, :2], [296 / 300, 8 / 300], atol=1e-6)
    np.testing.assert_allclose(priors[-2], [0.5, 0.5, 1, 0.95 / math.sqrt(3)], atol=1e-6)


@pytest.mark.parametrize("name", ABOVE)
def test_serving_makes_the_tensor_that_pytorch_ssd_makes(exported: dict[str, Any], name: str) -> None:
    """From the photo's file, EXIF and all, bit by bit."""
    served, answers = exported[name]
    for photo, answer in answers:
        np.testing.assert_array_equal(served.tensor(photo), answer.tensor, photo.name)


@pytest.mark.parametrize("name", ABOVE)
def test_onnx_answers_as_torch_does(exported: dict[str, Any], name: str) -> None:
    """`scores` [n, 3000, 1 + classes] that add up to 1 and `boxes` [n, 3000, 4], of one photo and of two at once."""
    served, answers = exported[name]
    session = ort.InferenceSession(served.source.onnx)
    [(_, one), (_, two), *_] = answers
    both = {"input_0": np.stack([one.tensor, two.tensor])}
    outputs = [np.asarray(value) for value in session.run(["scores", "boxes"], both)]
    assert [value.shape for value in outputs] == [(2, 3000, 1 + len(served.source.labels)), (2, 3000, 4)]
    np.testing.assert_allclose(outputs[0].sum(axis=2), 1, atol=1e-5)
    for row, answer in enumerate((one, two)):
        np.testing.assert_allclose(outputs[0][row], answer.outputs["scores"], atol=1e-4)
        np.testing.assert_allclose(outputs[1][row], answer.outputs["boxes"], atol=1e-4)


@pytest.mark.parametrize("name", ABOVE)
def test_served_boxes_are_those_of_the_predictor(exported: dict[str, Any], name: str) -> None:
    """Threshold, candidates, suppression by class and scaling: two independent writings of them, the same boxes.

    Both are given torch's raw outputs: among hundreds of boxes of a random network, ONNX Runtime's last bit decides.
    """
    served, answers = exported[name]
    found = 0
    for photo, answer in answers:
        detections = served.detections_of(photo, answer.outputs, ABOVE[name])
        expected = on_photo(answer, photo, 0)
        count = len(detections.scores)
        found += count
        assert count == min(len(expected.scores), served.source.postprocess.max_detections)
        np.testing.assert_array_equal(detections.scores, expected.scores[:count])
        np.testing.assert_array_equal(detections.label_ids, expected.label_ids[:count])
        np.testing.assert_allclose(detections.boxes_xyxy, expected.boxes_xyxy[:count], atol=0.05)  # px of the photo
    assert found > len(answers)


def test_background_is_no_label(exported: dict[str, Any]) -> None:
    """With the line for it, and without: column 1 is the first label."""
    assert exported["voc"][0].source.labels == tuple(VOC)
    assert exported["plate"][0].source.labels == ("plate",)
    assert foreground_labels(("a", "b"), 3) == foreground_labels(("BACKGROUND", "a", "b"), 3) == ("a", "b")
    assert foreground_labels(("???", "a"), 2) == ("a",)
    for lines in (("a", "b", "c"), ("BACKGROUND", "a"), ("a",), ()):
        with pytest.raises(ValueError, match=rf"{len(lines)} lines.*3 lines with BACKGROUND first, or 2 without"):
            foreground_labels(lines, 3)


BAD: dict[str, tuple[str, list[str] | None, list[str]]] = {
    "classifier": ("resnet", None, ["classification_headers.0.bias", "expected a checkpoint of pytorch-ssd"]),
    "lite": ("lite", None, ["-lite", "expected mb1-ssd"]),
    "shape": ("wider", None, ["1 of another shape: extras.0.0.weight [512, 1024, 1, 1] in place of [256, 1024, 1, 1]"]),
    "labels": ("voc", ["a", "b"], ["20 classes beside the background", "2 lines", "first is 'a'"]),
    "truncated": ("truncated", None, ["300,000 bytes", "cut off"]),
    "pickle": ("pickle", None, ["Unknown", "--trust-checkpoint"]),
}


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[str, End]:
    jobs = [voc(folder, checkpoint, labels) for checkpoint, labels, _ in BAD.values()]
    return dict(zip(BAD, ends_of(folder, *jobs), strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_checkpoint_is_named(ends: dict[str, End], name: str) -> None:
    """What was expected, what came, and what to do."""
    end = ends[name]
    assert end is not None
    assert end[0] == "export"
    for part in BAD[name][2]:
        assert part in end[1]


def test_onnx_of_pytorch_ssd_needs_no_torch(exported: dict[str, Any], folder: Path) -> None:
    """The exported ONNX, given as a source with labels.txt, is the same source but for its name and tools."""
    settings = PytorchSsdSource(kind="pytorch-ssd", onnx=folder / "voc/model.onnx", labels=("BACKGROUND", *VOC))
    source, same = source_from_settings(settings), exported["voc"][0].source
    assert replace(source, name=same.name, tools=same.tools) == same


def test_onnx_in_another_layout_is_refused(tmp_path: Path) -> None:
    """The message names what the graph has, and the layout that was expected."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [result])
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)])
    onnx.save(model, tmp_path / "relu.onnx")
    settings = PytorchSsdSource(kind="pytorch-ssd", onnx=tmp_path / "relu.onnx", labels=("a",))
    with pytest.raises(BuildError, match=r"'x'.* gives y; expected pytorch-ssd's layout"):
        source_from_settings(settings)


@pytest.mark.data
@pytest.mark.skipif(not COCO.exists(), reason=f"no {COCO}; set JETSERVE_DATA")
def test_coco_onnx_is_answered_for_by_the_predictor(tmp_path: Path) -> None:
    """90 labels of 91 lines, and boxes from the worker on the ONNX itself."""
    labels = COCO.with_suffix(".labels.txt")
    source = source_from_settings(PytorchSsdSource(kind="pytorch-ssd", onnx=COCO, labels=labels))
    assert len(source.labels) == 90
    assert source.labels[0] == "person"
    settings = {"onnx": str(COCO), "labels": str(labels)}
    photo = ROOT / "recipes/photos/car-red.jpg"
    job = Job("infer", "pytorch-ssd", settings, tmp_path / "out", None, photos=(photo,), score_floor=0.05)
    assert ends_of(tmp_path, job) == [None]
    answer = Answer.load(tmp_path / "out/00000.npz")
    assert answer.outputs["scores"].shape == (1917, 91)
    assert answer.boxes_xyxy is not None


def test_evaluation_in_git_is_of_the_weights_in_git() -> None:
    """`evaluation.json` names the checkpoint's file."""
    [weights] = RECIPE.glob("*.pth")
    assert json.loads((RECIPE / "evaluation.json").read_text())["checkpoint"] == weights.name
