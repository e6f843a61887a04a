import re
from pathlib import Path

import pytest

from builder.recipes import description
from builder.recipes.description import recipe_from_text, source_from_onnx
from builder.source import Wishes
from tests.builder.conftest import Importer
from tests.builder.networks import classifier, detector
from vision.contract import ClassifierHead, MmdetHead, ToRgb
from vision.errors import BuildError

DOCUMENT = Path(__file__).parents[2] / "docs" / "03-builder.md"
DETECTOR = """
task: detection
labels: names.txt
precision: fp32
input: {name: input, layout: NCHW}
preprocess:
  - {op: resize_stretch, size_hw: [32, 48], interpolation: bilinear, library: opencv}
  - {op: to_rgb}
  - {op: normalise, mean: [0, 0, 0], std: [255, 255, 255]}
postprocess: {head: mmdet, boxes: dets, label_ids: labels, score_threshold: 0.3, max_detections: 100}
"""


def documented() -> str:
    """The recipe that docs/03-builder.md shows."""
    found = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def write(folder: Path, text: str = DETECTOR, labels: str = "a\nb\n") -> tuple[Path, Path]:
    (folder / "net.onnx").write_bytes(detector().SerializeToString())
    (folder / "net.yaml").write_text(text)
    (folder / "names.txt").write_text(labels)
    return folder / "net.onnx", folder / "net.yaml"


def test_a_bare_onnx_with_a_recipe_is_imported(importer: Importer, tmp_path: Path) -> None:
    """What the file cannot say, the recipe says; labels lie beside it."""
    model, text = write(tmp_path)
    result = importer(model, recipe=text)
    contract = (result.folder / "1" / "contract.json").read_text()
    assert '"labels":["a","b"]' in contract
    assert '"op":"to_rgb"' in contract
    assert '"source":"net.onnx"' in contract


def test_the_documented_recipe_works(importer: Importer, tmp_path: Path) -> None:
    """The example in the document is imported as it stands, with a network of its size."""
    (tmp_path / "net.yaml").write_text(documented())
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    model = classifier(classes=5, softmax=False)
    for dimension, side in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], (224, 224), strict=True):
        dimension.dim_value = side
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    importer(tmp_path / "net.onnx", recipe=tmp_path / "net.yaml")


def test_the_recipe_in_the_docstring_is_the_documented_one() -> None:
    """One format, told twice: both are read."""
    assert description.__doc__ is not None
    inner = description.__doc__.split("\n\n", 1)[1]
    assert recipe_from_text(inner, "docstring") == recipe_from_text(documented(), "document")


def test_what_is_asked_for_wins(tmp_path: Path) -> None:
    """Options at import replace the recipe's thresholds and labels."""
    model, text = write(tmp_path)
    (tmp_path / "other.txt").write_text("x\ny\n")
    source = source_from_onnx(model, text, Wishes(tmp_path / "other.txt", score_threshold=0.5, max_detections=3))
    assert source.labels == ("x", "y")
    assert source.postprocess == MmdetHead(boxes="dets", label_ids="labels", score_threshold=0.5, max_detections=3)
    text.write_text(documented())
    (tmp_path / "labels.txt").write_text("x\ny\n")
    head = source_from_onnx(model, text, Wishes(top_k=1)).postprocess
    assert isinstance(head, ClassifierHead)
    assert head.top_k == 1


@pytest.mark.parametrize("field", ["task", "labels", "precision", "input", "preprocess", "postprocess"])
def test_nothing_has_a_default(field: str) -> None:
    """A recipe without one of its fields is refused by the field's name."""
    without = re.sub(rf"^{field}:.*\n(  - .*\n)*", "", DETECTOR, flags=re.MULTILINE)
    with pytest.raises(BuildError, match=f"{field} is missing, and required"):
        recipe_from_text(without, "recipe")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("task: detection", "task: segmentation", "task"),
        ("precision: fp32", "precision: fp32\nmean: [0, 0, 0]", "mean"),
        ("labels: names.txt", "labels: [cat, no]", "labels"),
        ("labels: names.txt", "labels: []", "labels"),
        ("op: to_rgb", "op: to_bgr", "preprocess.1"),
        ("mean: [0, 0, 0]", "mean: [0, 0]", "mean"),
        ("std: [255, 255, 255]", "std: [255, 0, 255]", "std"),
        (", max_detections: 100", "", "max_detections"),
        ("layout: NCHW", "layout: CHW", "layout"),
        (DETECTOR, "just words", "recipe"),
        (DETECTOR, "a: [1, 2", "YAML"),
        (DETECTOR, "when: 2026-01-01", "YAML"),
        (DETECTOR, "x: !!python/object/apply:os.system [ls]", "YAML"),
        (DETECTOR, "", "recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_field(old: str, new: str, part: str) -> None:
    """Unknown fields, values of the wrong kind, YAML's traps (no is false), and what is no recipe at all."""
    assert old in DETECTOR
    with pytest.raises(BuildError) as caught:
        recipe_from_text(DETECTOR.replace(old, new), "net.yaml")
    assert caught.value.step == "contract"
    assert part in caught.value.detail
    assert "net.yaml" in caught.value.detail


def test_recipe_and_source_belong_together(importer: Importer, tmp_path: Path) -> None:
    """An ONNX needs a recipe, a bundle takes none, and files that are not there are named."""
    model, text = write(tmp_path)
    importer.refused(model, "read", "--recipe")
    importer.refused(tmp_path, "read", "--recipe", recipe=text)
    importer.refused(model, "read", "gone.yaml", recipe=tmp_path / "gone.yaml")
    importer.refused(tmp_path / "gone.onnx", "read", "gone.onnx", recipe=text)
    importer.refused(model, "contract", "--resize-library", recipe=text, resize_library="pillow")
    (tmp_path / "names.txt").unlink()
    importer.refused(model, "contract", "names.txt", recipe=text)
    text.write_bytes(b"\xff\xfe\x00")
    importer.refused(model, "read", "UTF-8", recipe=text)


def test_a_normalise_step_is_needed_for_floats(importer: Importer, tmp_path: Path) -> None:
    """An FP32 input without mean and std is refused by the contract's own rule."""
    model, text = write(tmp_path, re.sub(r"  - \{op: normalise.*\n", "", DETECTOR))
    importer.refused(model, "contract", "normalise", recipe=text)


def test_steps_are_the_contracts_own(tmp_path: Path) -> None:
    """A recipe's steps are read as the contract's types."""
    assert recipe_from_text(DETECTOR, "net.yaml").preprocess[1] == ToRgb()
