import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from builder.graphs.fp16 import with_fp16
from builder.graphs.int8 import with_int8
from builder.lint.check import check_for_tensorrt, lint
from builder.lint.finding import fails
from builder.lint.shape_rules import Profile
from tests.builder.convolutions import FLOAT, UINT8, build, classifier, photos
from vision.errors import BuildError

Nodes = list[onnx.NodeProto]
Constants = dict[str, NDArray[np.generic]]
INT64, DOUBLE, INT32 = TensorProto.INT64, TensorProto.DOUBLE, TensorProto.INT32
ONE, EIGHT = Profile(1), Profile(8)
SCALE: Constants = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}


def graph(nodes: Nodes, constants: Constants | None = None, *, opset: int = 13, output: int = FLOAT) -> onnx.ModelProto:
    shape: list[int | str] = [1, 2, 4, 4]
    return build(nodes, {"input": (FLOAT, shape)}, {"output": (output, shape)}, constants or {}, opset)


def pair(constants: Constants, *inputs: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["input", *inputs], ["q"], name="odd"),
        helper.make_node("DequantizeLinear", ["q", *inputs], ["output"], name="back"),
    ]
    return graph(nodes, constants)


def one(operator: str, *inputs: str, domain: str = "", **attributes: object) -> Nodes:
    return [helper.make_node(operator, ["input", *inputs], ["output"], name="odd", domain=domain, **attributes)]  # type: ignore[arg-type]


def test_what_this_builder_makes_passes() -> None:
    """The folded network, its float16 and its int8, on every TensorRT that takes uint8."""
    feeds = photos(4)
    for model, precision in (
        (classifier(), "fp32"),
        (with_fp16(classifier(), feeds).model, "fp16"),
        (with_int8(classifier(), feeds).model, "int8"),
    ):
        for version in ("8.5.2", "8.6", "9.3", "10.3", "10.13"):
            assert lint(model, version, EIGHT, precision) == []
        assert fails(lint(model, "11.4", EIGHT, precision)) == []


@pytest.mark.parametrize(
    ("model", "where", "words", "remedy"),
    [
        (graph(one("Unique")), "odd (Unique)", "unknown to its parser", "newer TensorRT"),
        (graph(one("Gelu", domain="com.microsoft")), "odd (Gelu)", "ONNX Runtime's own", "optimiser"),
        (graph(one("TRTBatchedNMS", domain="mmdeploy")), "odd (TRTBatchedNMS)", "mmdeploy's own", "onnxruntime"),
        (graph(one("EfficientNMS_TRT", domain="TRT")), "odd (EfficientNMS_TRT)", "only TensorRT runs", "standard"),
        (graph(one("Mine", domain="me")), "odd (Mine)", "custom operator", "standard operators"),
        (graph(one("Resize", "", "s", mode="cubic"), {"s": np.ones(4, np.float32)}), "odd (Resize)", "cubic", "export"),
        (
            graph(one("Resize", "", "s", antialias=1, mode="linear"), {"s": np.ones(4, np.float32)}, opset=17),
            "odd (Resize)",
            "antialias is 1",
            "export",
        ),
        (
            graph([helper.make_node("TopK", ["input", "k"], ["output", "i"], name="odd")], {"k": np.array([5000])}),
            "odd (TopK)",
            "asks for 5000",
            "3840",
        ),
        (
            graph([helper.make_node("MaxPool", ["input"], ["output", "i"], name="odd", kernel_shape=[1, 1])]),
            "odd (MaxPool)",
            "Indices",
            "unpooling",
        ),
        (graph(one("MaxPool", kernel_shape=[1, 1], dilations=[2, 2])), "odd (MaxPool)", "dilations", "without"),
        (
            pair({**SCALE, "z": np.array(3, np.int8)}, "s", "z"),
            "odd (QuantizeLinear)",
            "other than 0",
            "symmetrically",
        ),
        (pair(SCALE, "s"), "odd (QuantizeLinear)", "no zero point", "symmetrically"),
        (pair({**SCALE, "z": np.array(0, np.uint8)}, "s", "z"), "odd (QuantizeLinear)", "UINT8", "symmetrically"),
        (
            pair({**SCALE, "s": np.array(-1, np.float32)}, "s", "z"),
            "odd (QuantizeLinear)",
            "not positive",
            "calibrate",
        ),
        (
            pair({"s": np.ones(2, np.float32), "z": np.zeros(2, np.int8)}, "s", "z"),
            "odd (QuantizeLinear)",
            "2 scales",
            "per tensor",
        ),
        (
            graph(
                [
                    helper.make_node("Cast", ["input"], ["bytes"], name="odd", to=UINT8),
                    helper.make_node("Cast", ["bytes"], ["output"], name="back", to=FLOAT),
                ]
            ),
            "odd (Cast)",
            "makes uint8 inside",
            "int32",
        ),
        (
            graph(
                [
                    helper.make_node("Cast", ["input"], ["whole"], name="cast", to=INT64),
                    helper.make_node("Add", ["whole", "big"], ["sum"], name="odd"),
                    helper.make_node("Cast", ["sum"], ["output"], name="back", to=FLOAT),
                ],
                {"big": np.array([2**40])},
            ),
            "constant 'big' of odd (Add)",
            "1099511627776",
            "INT32 holds",
        ),
        (
            graph(
                [
                    helper.make_node("Cast", ["input"], ["whole"], name="cast", to=INT32),
                    helper.make_node("Sigmoid", ["whole"], ["output"], name="odd"),
                ]
            ),
            "odd (Sigmoid)",
            "its data is INT32",
            "cast it before",
        ),
    ],
)
def test_what_it_refuses_is_named(model: onnx.ModelProto, where: str, words: str, remedy: str) -> None:
    """The node with its operator, why, and what to do."""
    found = {finding.where: finding for finding in fails(lint(model, "8.6", ONE))}
    assert words in found[where].reason
    assert remedy in found[where].remedy


def test_every_problem_is_told_at_once() -> None:
    """Nobody exports five times to learn of five nodes; nor from a build's one message."""
    nodes = [
        helper.make_node("Det", ["input"], ["a"], name="one"),
        helper.make_node("Unique", ["a"], ["output"], name="two"),
    ]
    with pytest.raises(BuildError, match=r"(?s)one \(Det\): .*two \(Unique\): ") as caught:
        check_for_tensorrt(graph(nodes), "8.6", ONE, "fp32")
    assert caught.value.step == "check"


def test_operators_and_opsets_differ_by_version() -> None:
    """LayerNormalization came with 8.6, Gelu and opset 20 with 10, Swish with 11."""
    gelu = graph(one("Gelu"), opset=20)
    assert lint(gelu, "10.3", ONE) == []
    assert [finding.where for finding in lint(gelu, "8.6", ONE)] == ["opset 20", "odd (Gelu)"]
    layer = graph(one("LayerNormalization", "g"), {"g": np.ones(4, np.float32)}, opset=17)
    assert fails(lint(layer, "8.5.2", ONE))
    assert not lint(layer, "8.6", ONE)


def test_between_two_tables_it_does_not_pretend_to_know() -> None:
    """RMSNormalization is in the table of 10.15 and not in that of 10.6: a warning on 10.13, a failure on 10.3."""
    model = graph(one("RMSNormalization", "g"), {"g": np.ones(4, np.float32)}, opset=23)
    assert {finding.level for finding in lint(model, "10.15", ONE)} == set()
    assert {finding.level for finding in lint(model, "10.13", ONE)} == {"warn"}
    assert {finding.level for finding in lint(model, "10.3", ONE)} == {"fail"}


def test_uint8_came_with_8_5() -> None:
    """Before that the network keeps its float input."""
    [finding] = lint(classifier(), "8.4", EIGHT)
    assert (finding.level, finding.where) == ("fail", "input 'input'")
    assert "--no-fold" in finding.remedy


def test_suppression_in_the_graph_needs_8_5() -> None:
    """What 8.4 has of that name pads its result."""
    nodes = [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["kept"], name="nms")]
    model = build(
        nodes,
        {"boxes": (FLOAT, [1, 9, 4]), "scores": (FLOAT, [1, 1, 9])},
        {"kept": (INT64, ["n", 3])},
        {"most": np.array([5])},
        11,
    )
    assert "nms (NonMaxSuppression)" in {finding.where for finding in fails(lint(model, "8.4", ONE))}
    assert fails(lint(model, "8.5.2", ONE)) == []


def test_a_computed_k_needs_8_6() -> None:
    """8.4 and 8.5 want a constant there; a constant of a Constant node is one."""
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "last"], ["k"], name="gather"),
        helper.make_node("TopK", ["input", "k"], ["output", "i"], name="best"),
    ]
    model = graph(nodes, {"last": np.array([3])})
    [finding] = lint(model, "8.5.2", ONE)
    assert (finding.level, finding.where) == ("fail", "best (TopK)")
    assert "--target jetson" in finding.remedy
    assert lint(model, "8.6", ONE) == []
    constant = helper.make_node("Constant", [], ["k"], value=onnx.numpy_helper.from_array(np.array([2])))
    assert lint(graph([constant, nodes[-1]]), "8.5.2", ONE) == []


def test_the_end_of_a_slice_may_be_the_largest_number() -> None:
    """torch writes INT64's for "to the end"; cut to INT32's it means the same."""
    nodes = one("Slice", "from", "to", "axes")
    model = graph(nodes, {"from": np.array([0]), "to": np.array([2**63 - 1]), "axes": np.array([1])})
    assert lint(model, "8.5.2", ONE) == []


def test_integers_that_come_out_narrower_are_pointed_out() -> None:
    """Before 9 an INT64 output has INT32 bindings (onnx-tensorrt, docs/Changelog.md, 9.0 EA)."""
    model = graph(one("Cast", to=INT64), output=INT64)
    [finding] = lint(model, "8.6", ONE)
    assert (finding.level, finding.where) == ("warn", "output 'output'")
    assert "INT32" in finding.reason
    assert lint(model, "10.3", ONE) == []


def test_doubles_are_read_as_floats() -> None:
    """A warning: both compute, and not the same."""
    model = graph(
        [
            helper.make_node("Cast", ["input"], ["wide"], name="cast", to=DOUBLE),
            helper.make_node("Mul", ["wide", "pi"], ["product"], name="odd"),
            helper.make_node("Cast", ["product"], ["output"], name="back", to=FLOAT),
        ],
        {"pi": np.array(np.pi)},
    )
    assert [(f.level, f.where) for f in lint(model, "10.3", ONE)] == [
        ("warn", "constant 'pi' of odd (Mul)"),
    ]


def test_free_sizes_need_a_profile() -> None:
    """A free batch is a contract's matter; a free height is nobody's, and engines are built for one."""
    assert [finding.level for finding in lint(classifier(), "10.3", None)] == ["warn"]
    assert lint(classifier(), "10.3", EIGHT) == []
    assert [finding.level for finding in lint(classifier(batch=1), "10.3", EIGHT)] == ["fail"]
    assert lint(classifier(batch=1), "10.3", Profile(1)) == []
    free = build(one("Relu"), {"input": (FLOAT, [1, 3, "h", "w"])}, {"output": (FLOAT, [1, 3, "h", "w"])}, {})
    [finding] = lint(free, "10.3", Profile(1))
    assert finding.level == "fail"
    assert "h, w" in finding.reason


def test_from_11_on_precision_must_be_in_the_graph() -> None:
    """There is no flag for it any more: a model that is said to be fp16 and computes in FP32 is refused."""
    [known] = lint(classifier(), "11.4", EIGHT, "fp32")
    assert (known.level, known.where) == ("warn", "precision")
    [refused] = lint(classifier(), "11.4", EIGHT, "fp16")
    assert refused.level == "fail"
    assert "--precision fp16" in refused.remedy
    assert lint(with_fp16(classifier(), photos(4)).model, "11.4", EIGHT, "fp16") == []
    assert lint(classifier(), "10.3", EIGHT, "fp16") == []


def test_functions_of_its_own_need_9() -> None:
    """The parser learnt them then (docs/Changelog.md)."""
    model = graph(one("Twice", domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))
    body = [helper.make_node("Add", ["x", "x"], ["y"])]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    assert [finding.where for finding in lint(model, "8.6", ONE)] == ["own::Twice"]
    assert lint(model, "10.3", ONE) == []


def test_a_damaged_graph_is_told_as_that() -> None:
    """A node without the inputs and outputs that its operator has ends in an error with a remedy, not in a crash."""
    model = graph([helper.make_node("Conv", [], ["output"], name="odd")])
    with pytest.raises(BuildError, match=r"damaged .*export it again"):
        lint(model, "11.4")
