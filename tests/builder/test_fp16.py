import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.graphs.fp16 import with_fp16
from builder.graphs.layers import dtypes, named_copy
from builder.graphs.overflow import first_overflow, spans
from builder.graphs.precision import with_fp16 as checked_fp16
from tests.builder.convolutions import FLOAT, build, classifier, photos
from vision.errors import BuildError

GAIN = 6e4


def scores(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run(None, feed)[0]) for feed in feeds])


def layer(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def test_inside_is_float16_and_outside_is_as_it_was() -> None:
    """Weights are halved; inputs, outputs and what was folded in front keep their dtypes, and answers stay."""
    model, feeds = classifier(), photos(4)
    made = with_fp16(model, feeds)
    onnx.checker.check_model(made.model, full_check=True)
    known = dtypes(made.model)
    assert known["input"] == TensorProto.UINT8
    assert known["scores"] == TensorProto.FLOAT
    for name, dtype in {"nchw": FLOAT, "unit": FLOAT, "c1": TensorProto.FLOAT16, "logits": TensorProto.FLOAT16}.items():
        assert known[name] == dtype, name
    assert made.layers == 4
    assert made.kept == ()
    weights = [t for t in made.model.graph.initializer if t.name.startswith("w")]
    assert {weight.data_type for weight in weights} == {TensorProto.FLOAT16}
    np.testing.assert_allclose(scores(made.model, feeds), scores(model, feeds), atol=5e-3)


def test_after_the_last_layer_is_float32() -> None:
    """Decoding and softmax are as exact as they were."""
    made = with_fp16(classifier(), photos(1)).model
    assert dtypes(made)[layer(made, "softmax").input[0]] == FLOAT


def test_an_overflow_is_measured_and_kept_in_float32() -> None:
    """Nodes beyond 65504 are named, stay in float32 with no float16 between them, and the answer stays finite."""
    model, feeds = classifier(gain=GAIN, scale=1 / GAIN), photos(4)
    reached = spans(named_copy(model), feeds)
    assert reached["loud"].overflows
    assert not reached["first"].overflows
    made = with_fp16(model, feeds)
    assert made.kept == ("loud",)
    assert first_overflow(made.model, feeds) is None
    np.testing.assert_allclose(scores(made.model, feeds), scores(model, feeds), atol=1e-2)
    notes: list[str] = []
    checked_fp16(model, feeds, on_note=notes.append)
    assert notes == ["1 node stayed in float32, beyond the range of float16: loud"]


def test_neighbours_in_float32_meet_in_float32() -> None:
    """Between two nodes that overflow no Cast goes to float16 and back."""
    model, feeds = classifier(gain=6e4, scale=1.0), photos(2)
    made = with_fp16(model, feeds, keep=["quiet", "pool", "flatten"])
    assert {"loud", "quiet"} <= set(made.kept)
    assert layer(made.model, "quiet").input[0] == "loud"


def test_what_overflows_unmeasured_is_named() -> None:
    """Without photos nothing is kept, and the first node that makes inf is found afterwards."""
    made = with_fp16(classifier(gain=GAIN, scale=1 / GAIN))
    assert first_overflow(made.model, photos(1)) == "loud"
    assert first_overflow(classifier(gain=GAIN, scale=1 / GAIN), photos(1)) is None
    beyond = with_fp16(classifier(gain=1e6, scale=1.0))  # a constant that float16 cannot hold: the cast after it is inf
    assert first_overflow(beyond.model, photos(1)) == "loud"


def test_what_vanishes_is_kept() -> None:
    """Magnitudes that float16 would round to nothing stay in float32."""
    made = with_fp16(classifier(gain=1e-9, scale=1e9), photos(2))
    assert dtypes(made.model)["loud"] == FLOAT
    np.testing.assert_allclose(
        scores(made.model, photos(3)), scores(classifier(gain=1e-9, scale=1e9), photos(3)), atol=1e-2
    )


def test_float_inputs_and_inner_outputs_are_cast() -> None:
    """A float32 input, and an output that the graph itself goes on reading, keep their names and dtype."""
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["features"], name="one"),
        helper.make_node("Conv", ["features", "w"], ["output"], name="two"),
    ]
    weight = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)
    outputs: dict[str, tuple[int, list[int | str]]] = {name: (FLOAT, [1, 3, 4, 4]) for name in ("features", "output")}
    model = build(nodes, {"input": (FLOAT, [1, 3, 4, 4])}, outputs, {"w": weight})
    made = with_fp16(model).model
    onnx.checker.check_model(made, full_check=True)
    feed = {"input": np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)}
    wanted, came = (
        ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)
        for m in (model, made)
    )
    for one, other in zip(map(np.asarray, wanted), map(np.asarray, came), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=2e-2)


def test_constants_beyond_float16_keep_their_node() -> None:
    """A mask of -1e9 is not -inf."""
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], name="conv"),
        helper.make_node("Add", ["c", "mask"], ["masked"], name="mask"),
        helper.make_node("Conv", ["masked", "w"], ["output"], name="after"),
    ]
    constants = {"w": np.ones((3, 3, 1, 1), np.float32), "mask": np.array(-1e9, np.float32)}
    model = build(nodes, {"input": (FLOAT, [1, 3, 2, 2])}, {"output": (FLOAT, [1, 3, 2, 2])}, constants)
    made = with_fp16(model, keep=["after"]).model
    mask = next(t for t in made.graph.initializer if t.name == "mask")
    assert numpy_helper.to_array(mask) == np.float32(-1e9)


def test_scales_of_a_resize_stay_float32() -> None:
    """Its data is converted, its scales have no float16."""
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], name="conv"),
        helper.make_node("Resize", ["c", "", "scales"], ["large"], name="resize"),
        helper.make_node("Conv", ["large", "w"], ["output"], name="after"),
    ]
    constants = {"w": np.ones((3, 3, 1, 1), np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    model = build(nodes, {"input": (FLOAT, [1, 3, 2, 2])}, {"output": (FLOAT, [1, 3, 4, 4])}, constants)
    made = checked_fp16(model)
    assert dtypes(made)["large"] == TensorProto.FLOAT16
    assert layer(made, "resize").input[2] == "scales"


def test_a_network_without_layers_is_refused() -> None:
    """There is nothing to gain, and it says so."""
    model = build(
        [helper.make_node("Relu", ["input"], ["output"])], {"input": (FLOAT, [1])}, {"output": (FLOAT, [1])}, {}
    )
    with pytest.raises(BuildError, match="--precision fp32"):
        with_fp16(model)
