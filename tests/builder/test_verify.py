from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from builder.graphs import fold
from builder.probes import Probe
from builder.verify import _richest
from tests.builder.conftest import Importer
from tests.builder.networks import LETTERBOX, STRETCH, classifier, detector

Bundle = Callable[..., Path]


def classifying(bundle_with: Bundle, model: onnx.ModelProto, **options: Any) -> Path:
    return bundle_with(model, task="Classifier", transforms=STRETCH, labels="a\nb\nc\nd\n", **options)


def test_a_sound_model_passes_and_says_what_was_seen(importer: Importer, bundle_with: Bundle, tmp_path: Path) -> None:
    """Probes, agreement with the source, the batch, and what the person's own photo gave."""
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.full((40, 60, 3), 200, np.uint8))
    importer(bundle_with(), probes=(photo,))
    said = [line for line in importer.said if line.startswith("verify")]
    assert said[0] == "verify 5 probes, folded equals source within 0.0e+00"
    assert said[1] == "verify a batch of 2 equals two of 1"
    assert said[2].startswith("verify photo.png: 2 boxes over 0.2, best ")


def test_every_photo_is_verified(importer: Importer, bundle_with: Bundle, tmp_path: Path) -> None:
    """Photos of one name from two folders are two probes, and a photo may be as large as photos are."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    photos = (tmp_path / "a" / "photo.png", tmp_path / "b" / "photo.png")
    for photo, image in zip(photos, (noise, noise[:40]), strict=True):
        photo.parent.mkdir()
        cv2.imwrite(str(photo), image)
    assert photos[0].stat().st_size > 4 * 2**20  # more than the texts of a bundle may have
    importer(bundle_with(), probes=photos)
    assert "verify 6 probes, folded equals source within 0.0e+00" in importer.said


@pytest.mark.parametrize("model", [detector(gain=0.0), detector(rows=0)])
def test_an_empty_output_is_refused(importer: Importer, bundle_with: Bundle, model: onnx.ModelProto) -> None:
    """An export whose boxes are all empty, or score 0, answers nothing for ever."""
    importer.refused(bundle_with(model), "verify", "'dets'", "empty", "--probe")


def test_nan_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """A network that answers NaN is broken, whatever else agrees."""
    importer.refused(bundle_with(detector(broken=True)), "verify", "'dets'", "NaN")


@pytest.mark.parametrize("ids", [(0, 2), (-1, 1)])
def test_a_label_id_outside_the_labels_is_refused(
    importer: Importer, bundle_with: Bundle, ids: tuple[int, int]
) -> None:
    """A class dropped from the labels shows in the ids the network answers."""
    importer.refused(bundle_with(detector(label_ids=ids)), "verify", "'labels'", str(min(ids) if min(ids) < 0 else 2))


def test_scores_that_are_no_probabilities_are_refused(importer: Importer, bundle_with: Bundle) -> None:
    """A classifier exported without its softmax is not served as if it had one."""
    importer.refused(classifying(bundle_with, classifier(softmax=False)), "verify", "'output'", "softmax")
    positive = classifier(softmax=False)
    positive.graph.node[-1].output[0] = "logits"
    positive.graph.node.append(helper.make_node("Abs", ["logits"], ["output"]))
    importer.refused(classifying(bundle_with, positive), "verify", "'output'", "softmax")


def test_steps_that_do_not_fit_the_graph_are_refused(importer: Importer, bundle_with: Bundle) -> None:
    """The size the steps make and the size the graph takes are both named; width and height are not confused."""
    swapped = [STRETCH[0], {"type": "Resize", "size": [32, 48]}, *STRETCH[2:]]
    importer.refused(bundle_with(transforms=swapped), "verify", "'input'", "32", "48")


def test_a_letterbox_that_fails_for_portraits_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """`keep_ratio` ignores orientation (mmcv rescale_size): a portrait does not fit into a landscape input."""
    importer.refused(bundle_with(transforms=LETTERBOX), "verify", "'input'", "43")


def test_a_small_photo_is_refused_only_when_it_was_given(
    importer: Importer, bundle_with: Bundle, tmp_path: Path
) -> None:
    """Steps may refuse odd shapes: a synthetic probe is passed over then, a person's own photo is not."""
    crop = [STRETCH[0], {"type": "CenterCrop", "crop_size": [48, 32]}, *STRETCH[2:]]
    photo = tmp_path / "tiny.png"
    cv2.imwrite(str(photo), np.zeros((20, 20, 3), np.uint8))
    importer.refused(bundle_with(transforms=crop), "verify", "tiny.png", "20x20", probes=(photo,))
    importer(bundle_with(transforms=crop))
    tall = [STRETCH[0], {"type": "CenterCrop", "crop_size": [600, 450]}, *STRETCH[2:]]
    importer(bundle_with(detector(size_hw=(450, 600)), transforms=tall), name="large")
    assert any("verify 1 probes" in line for line in importer.said)


def test_a_probe_that_is_no_photo_is_refused(importer: Importer, bundle_with: Bundle, tmp_path: Path) -> None:
    """Before anything else is done."""
    (tmp_path / "photo.jpg").write_text("hello")
    importer.refused(bundle_with(), "read", "photo.jpg", probes=(tmp_path / "photo.jpg",))
    importer.refused(bundle_with(), "read", "gone.jpg", probes=(tmp_path / "gone.jpg",))


def test_a_graph_that_declares_another_shape_than_it_gives_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """The declared shape is what Triton is told; what comes out counts."""
    model = detector()
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 7
    importer.refused(bundle_with(model), "verify", "'labels'", "7", "[1, 2]")


def test_a_batch_that_mixes_its_images_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """A graph that declares a dynamic batch and normalises across it answers otherwise than image by image."""
    told = ("batch of 2", "--max-batch 1", "serve.max_batch: 1 in the recipe")
    importer.refused(classifying(bundle_with, mixing()), "verify", *told)


def test_a_batch_that_mixes_its_images_a_little_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """Rows that keep their places are compared value by value: a probability that moves by 0.002 shows."""
    importer.refused(classifying(bundle_with, mixing(strength=0.002)), "verify", "batch of 2", "--max-batch 1")


def test_a_batch_of_a_detector_sure_of_nothing_is_compared_too(importer: Importer, bundle_with: Bundle) -> None:
    """What is clear is what is so beside the best score, however low that is."""
    importer.refused(bundle_with(mixing(detector(gain=0.05))), "verify", "batch of 2", "--max-batch 1")
    importer(bundle_with(detector(gain=0.05)))


def test_a_batch_is_proved_where_most_is_found() -> None:
    """The first probe may be one on which nothing is found."""
    probes = [Probe(name, np.full((1, 1, 3), value, np.uint8)) for value, name in enumerate(("none", "two", "one"))]
    found = [np.array(scores, np.float32) for scores in ((), (0.04, 0.03, 0.001), (0.05,))]
    answers = [
        (probe, (scores, np.zeros(len(scores), np.int64), None)) for probe, scores in zip(probes, found, strict=True)
    ]
    assert _richest(answers)[0, 0, 0] == 1


def mixing(model: onnx.ModelProto | None = None, strength: float = 1) -> onnx.ModelProto:
    """Every image is brightened by the mean, over the batch, of one corner, times `strength`."""
    model = classifier() if model is None else model
    nodes = [
        helper.make_node("Slice", ["input", "from", "to"], ["corner"]),
        helper.make_node("ReduceMean", ["corner"], ["mean_corner"], axes=[0, 2, 3], keepdims=1),
        helper.make_node("Mul", ["mean_corner", "strength"], ["shared"]),
        helper.make_node("Add", ["input", "shared"], ["mixed"]),
    ]
    model.graph.node[0].input[0] = "mixed"
    for position, node in enumerate(nodes):
        model.graph.node.insert(position, node)
    model.graph.initializer.append(numpy_helper.from_array(np.array(strength, np.float32), "strength"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.int64), "from"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([99, 3, 4, 4], np.int64), "to"))
    return model


def test_a_batch_that_cannot_be_run_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """A batch baked into a reshape shows only when a batch is run."""
    model = detector()
    shape = next(tensor for tensor in model.graph.initializer if tensor.name == "to_boxes")
    shape.CopyFrom(numpy_helper.from_array(np.array([1, 2, 4], np.int64), "to_boxes"))
    importer.refused(bundle_with(model), "verify", "batch of [2, ")
    importer(bundle_with(model), max_batch=1)


def test_a_fold_that_changes_the_answer_is_refused(
    importer: Importer, bundle_with: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source and folded graph run side by side: a wrong fold is caught before it is published."""
    real = fold._prepend

    def wrong(model: onnx.ModelProto, contract: Any, steps: Any) -> None:
        real(model, contract, tuple(step for step in steps if step.op != "to_rgb"))

    monkeypatch.setattr(fold, "_prepend", wrong)
    importer.refused(bundle_with(), "verify", "folded 'dets'", "--no-fold")


def test_a_graph_onnx_runtime_cannot_load_is_refused(importer: Importer, bundle_with: Bundle) -> None:
    """Valid ONNX may still be more than the served runtime knows."""
    model = detector()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[2].domain = "com.microsoft"
    model.graph.node[2].op_type = "NoSuchOperator"
    importer.refused(bundle_with(model), "verify", "ONNX Runtime", "NoSuchOperator")
