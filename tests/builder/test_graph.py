from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.builder.conftest import Importer
from tests.builder.networks import STRETCH, classifier, detector

Bundle = Callable[..., Path]


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_file_that_is_cut_off_is_refused(importer: Importer, bundle_with: Bundle, size: int) -> None:
    """Empty, nearly empty, or missing its end."""
    importer.refused(bundle_with(detector().SerializeToString()[:size]), "check", "end2end.onnx")


def test_text_is_no_onnx(importer: Importer, bundle_with: Bundle) -> None:
    """A file of something else, say a Git LFS pointer, is refused."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"
    importer.refused(bundle_with(pointer), "check", "end2end.onnx")


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].domain = "mmdeploy"
    model.graph.node[2].op_type = "TRTBatchedNMS"
    model.opset_import.append(helper.make_opsetid("mmdeploy", 1))


def custom_operator_in_a_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_node("Odd", [], ["x"], domain="mmcv")
    body = helper.make_graph([inner], "body", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])])
    model.graph.node.append(helper.make_node("If", ["gain"], ["y"], then_branch=body, else_branch=body))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = "Sigmoidal"


def dangling_input(model: onnx.ModelProto) -> None:
    model.graph.node[2].input[0] = "nobody"


def external_weights(model: onnx.ModelProto) -> None:
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    model.graph.initializer[0].ClearField("raw_data")


def other_input_name(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "image"


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]))


def half_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def grey_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def flat_input(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[3]


def input_without_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def float_labels(model: onnx.ModelProto) -> None:
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT


def half_dets(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def flat_dets(model: onnx.ModelProto) -> None:
    del model.graph.output[0].type.tensor_type.shape.dim[2]


def old_opset(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Relu", ["input"], ["dets"]))
    model.graph.node.append(helper.make_node("Relu", ["input"], ["labels"]))
    model.opset_import[0].version = 6


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        (custom_operator, ["mmdeploy::TRTBatchedNMS", "onnxruntime deploy config"]),
        (custom_operator_in_a_subgraph, ["mmcv::Odd"]),
        (unknown_operator, ["Sigmoidal"]),
        (dangling_input, ["nobody"]),
        (external_weights, ["another file"]),
        (other_input_name, ["'image'", "'input'"]),
        (second_input, ["'scale'", "'input'"]),
        (half_input, ["'input'", "FLOAT16", "FP32"]),
        (grey_input, ["'input'", "[-1, 1, 32, 48]", "[batch, 3, height, width]"]),
        (flat_input, ["'input'", "[-1, 3, 32]"]),
        (input_without_shape, ["shape"]),
        (float_labels, ["'labels'", "FP32", "INT64"]),
        (half_dets, ["'dets'", "FLOAT16"]),
        (flat_dets, ["'dets'", "3 dimensions"]),
        (old_opset, ["opset 6", "7"]),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused(
    importer: Importer, bundle_with: Bundle, fault: Callable[[onnx.ModelProto], None], parts: list[str]
) -> None:
    """Operators, names, dtypes, shapes: what was expected and what came, and the repository untouched."""
    model = detector()
    fault(model)
    importer.refused(bundle_with(model), "check", *parts)


def test_outputs_are_looked_for_by_name_and_columns(importer: Importer, bundle_with: Bundle) -> None:
    """The head reads `dets` with 5 columns; the message says what the graph has instead."""
    importer.refused(bundle_with(detector(dets="found")), "check", "'found'", "'dets'")
    importer.refused(bundle_with(detector(columns=6)), "check", "'dets'", "expected ['any', 5]: x1 y1 x2 y2 score")


@pytest.mark.parametrize(("labels", "count"), [("a\nb\nc\n", 3), ("a\nb\nc\nd\ne\n", 5)])
def test_a_classifier_has_as_many_labels_as_outputs(
    importer: Importer, bundle_with: Bundle, labels: str, count: int
) -> None:
    """A class too few or too many names every photo wrongly."""
    folder = bundle_with(classifier(classes=4), task="Classifier", transforms=STRETCH, labels=labels)
    importer.refused(folder, "check", "4 classes", f"{count} labels")


def test_top_k_is_at_most_the_classes(importer: Importer, bundle_with: Bundle) -> None:
    """More classes than there are cannot be answered."""
    folder = bundle_with(classifier(classes=4), task="Classifier", transforms=STRETCH, labels="a\nb\nc\nd\n")
    importer.refused(folder, "check", "top_k is 5", "4 labels", top_k=5)


@pytest.mark.parametrize(
    ("batch", "asked", "served"), [("batch", None, 8), ("batch", 3, 3), ("batch", 1, 1), (1, None, 1), (1, 1, 1)]
)
def test_the_batch_is_what_the_graph_allows(
    importer: Importer, bundle_with: Bundle, batch: int | str, asked: int | None, served: int
) -> None:
    """A dynamic batch takes what is asked for, 8 by default; a batch of 1 stays 1."""
    result = importer(bundle_with(detector(batch=batch)), max_batch=asked)
    assert f'"max_batch":{served},' in (result.folder / "1" / "contract.json").read_text()


@pytest.mark.parametrize(("batch", "asked"), [(4, None), (1, 8), (4, 4)])
def test_a_fixed_batch_is_not_stretched(importer: Importer, bundle_with: Bundle, batch: int, asked: int | None) -> None:
    """A graph of fixed batch cannot take others."""
    importer.refused(bundle_with(detector(batch=batch)), "check", f"batches of {batch}", max_batch=asked)


def test_a_contradiction_is_named(importer: Importer, bundle_with: Bundle) -> None:
    """Two Normalize steps pass no one's training; the contract refuses them and the import says which."""
    twice: list[dict[str, Any]] = [*STRETCH[:3], STRETCH[2], *STRETCH[3:]]
    importer.refused(bundle_with(transforms=twice), "contract", "normalise", "twice")
