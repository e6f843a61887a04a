import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from builder.graphs.fp16 import with_fp16
from builder.graphs.tensorrt_rules import check_for_tensorrt
from tests.builder.convolutions import FLOAT, UINT8, build, classifier, photos
from vision.errors import BuildError

Nodes = list[onnx.NodeProto]
Constants = dict[str, NDArray[np.generic]]


def graph(nodes: Nodes, constants: Constants | None = None, *, opset: int = 13, output: int = FLOAT) -> onnx.ModelProto:
    shape: list[int | str] = [1, 2, 4, 4]
    return build(nodes, {"input": (FLOAT, shape)}, {"output": (output, shape)}, constants or {}, opset)


def test_what_this_builder_makes_passes() -> None:
    """The folded network and its float16: nothing but the profile that a dynamic batch needs."""
    for model in (classifier(), with_fp16(classifier(), photos(1)).model):
        [note] = check_for_tensorrt(model, "8.6")
        assert "optimisation profile" in note
    assert check_for_tensorrt(classifier(batch=1), "10.3") == []


@pytest.mark.parametrize(
    ("nodes", "constants", "words"),
    [
        ([helper.make_node("Unique", ["input"], ["output"], name="odd")], {}, "odd (Unique) is unknown"),
        (
            [helper.make_node("Gelu", ["input"], ["output"], name="odd", domain="com.microsoft")],
            {},
            "odd (Gelu) is of com.microsoft",
        ),
        (
            [helper.make_node("Resize", ["input", "", "s"], ["output"], name="odd", mode="cubic")],
            {"s": np.ones(4, np.float32)},
            "odd (Resize) has mode cubic",
        ),
        (
            [helper.make_node("TopK", ["input", "k"], ["output", "index"], name="odd")],
            {"k": np.array([5000], np.int64)},
            "odd (TopK) asks for 5000",
        ),
        (
            [
                helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"], name="odd"),
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["output"], name="back"),
            ],
            {"s": np.array(0.1, np.float32), "z": np.array(3, np.int8)},
            "odd (QuantizeLinear) has a zero point other than 0",
        ),
        (
            [
                helper.make_node("QuantizeLinear", ["input", "s"], ["q"], name="odd"),
                helper.make_node("DequantizeLinear", ["q", "s"], ["output"], name="back"),
            ],
            {"s": np.array(0.1, np.float32)},
            "odd (QuantizeLinear) has no zero point",
        ),
        (
            [
                helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"], name="odd"),
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["output"], name="back"),
            ],
            {"s": np.array(0.1, np.float32), "z": np.array(0, np.uint8)},
            "odd (QuantizeLinear) is UINT8",
        ),
        (
            [
                helper.make_node("Cast", ["input"], ["bytes"], name="odd", to=UINT8),
                helper.make_node("Cast", ["bytes"], ["output"], name="back", to=FLOAT),
            ],
            {},
            "odd (Cast) makes uint8 inside",
        ),
    ],
)
def test_what_it_refuses_is_named(nodes: Nodes, constants: Constants, words: str) -> None:
    """The node, its operator, and why."""
    with pytest.raises(BuildError) as caught:
        check_for_tensorrt(graph(nodes, constants), "8.6")
    assert caught.value.step == "check"
    assert words in caught.value.detail


def test_every_problem_is_told_at_once() -> None:
    """Nobody exports five times to learn of five nodes."""
    nodes = [
        helper.make_node("Det", ["input"], ["a"], name="one"),
        helper.make_node("Unique", ["a"], ["output"], name="two"),
    ]
    with pytest.raises(BuildError, match=r"one \(Det\).*two \(Unique\)"):
        check_for_tensorrt(graph(nodes), "8.6")


def test_versions_differ() -> None:
    """uint8 in came with 8.5, LayerNormalization with 8.6, Gelu with 10; opset 20 too."""
    with pytest.raises(BuildError, match="--no-fold"):
        check_for_tensorrt(classifier(), "8.4")
    check_for_tensorrt(classifier(), "8.5.2")
    gelu = graph([helper.make_node("Gelu", ["input"], ["output"], name="gelu")], opset=20)
    check_for_tensorrt(gelu, "10.3")
    with pytest.raises(BuildError, match="opset 20, expected 17 at most"):
        check_for_tensorrt(gelu, "8.6")
    with pytest.raises(BuildError, match="older than any"):
        check_for_tensorrt(classifier(), "7.2")
    with pytest.raises(BuildError, match="expected two or more numbers"):
        check_for_tensorrt(classifier(), "latest")


def test_integers_that_come_out_narrower_are_pointed_out() -> None:
    """Before 9 an INT64 output has INT32 bindings."""
    model = graph([helper.make_node("Cast", ["input"], ["output"], to=TensorProto.INT64)], output=TensorProto.INT64)
    assert "INT32" in check_for_tensorrt(model, "8.6")[0]
    assert check_for_tensorrt(model, "10.3") == []
