import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from builder.graphs.batch import with_dynamic_batch
from tests.builder.convolutions import FLOAT, build, classifier, photos


def outputs(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feed)]


def resizing(sizes: list[int], *, mode: str = "linear") -> onnx.ModelProto:
    """[1, 2, 4, 4] resized to constant sizes, then [1, 2, -1]."""
    nodes = [
        helper.make_node("Resize", ["input", "", "", "sizes"], ["large"], name="resize", mode=mode),
        helper.make_node("Reshape", ["large", "flat"], ["output"], name="reshape"),
    ]
    constants = {"sizes": np.array(sizes, np.int64), "flat": np.array([1, 2, -1], np.int64)}
    return build(nodes, {"input": (FLOAT, [1, 2, 4, 4])}, {"output": (FLOAT, [1, 2, sizes[2] * sizes[3]])}, constants)


def test_a_batch_of_one_becomes_any() -> None:
    """Shapes that hold the 1 are freed, and two at once are each alone, to the last bit."""
    model = classifier(batch=1, fixed_reshape=True)
    made = with_dynamic_batch(model, "input")
    assert made is not None
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in (*made.graph.input, *made.graph.output)] == [
        "batch",
        "batch",
    ]
    one, other = photos(2)
    [both] = outputs(made, {"input": np.concatenate([one["input"], other["input"]])})
    np.testing.assert_array_equal(both, np.concatenate([outputs(model, one)[0], outputs(model, other)[0]]))


def test_a_dynamic_batch_is_left_alone() -> None:
    """The very same graph comes back."""
    model = classifier()
    assert with_dynamic_batch(model, "input") is model


def test_the_source_is_not_changed() -> None:
    """Whoever falls back to it finds it as it was."""
    model = classifier(batch=1, fixed_reshape=True)
    before = model.SerializeToString(deterministic=True)
    with_dynamic_batch(model, "input")
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("sizes", [[1, 2, 8, 8], [1, 2, 8, 12], [1, 2, 5, 7]])
def test_sizes_become_scales(sizes: list[int], mode: str) -> None:
    """A Resize to constant sizes makes the same pixels of each image of a batch."""
    model = resizing(sizes, mode=mode)
    made = with_dynamic_batch(model, "input")
    assert made is not None
    pair = np.random.default_rng(0).normal(size=(2, 2, 4, 4)).astype(np.float32)
    [both] = outputs(made, {"input": pair})
    alone = [outputs(model, {"input": pair[i : i + 1]})[0] for i in range(2)]
    np.testing.assert_allclose(both, np.concatenate(alone), atol=1e-6)


def test_a_batch_of_its_own_stays() -> None:
    """A graph for 4 images at once is for 4 images."""
    assert with_dynamic_batch(classifier(batch=4), "input") is None


def test_an_output_that_has_no_batch_stays() -> None:
    """Where shapes no longer fit each other, nothing is claimed."""
    nodes = [
        helper.make_node("MatMul", ["input", "weight"], ["product"]),
        helper.make_node("Add", ["product", "table"], ["output"]),
    ]
    constants = {"weight": np.ones((4, 3), np.float32), "table": np.ones((7, 3), np.float32)}
    model = build(nodes, {"input": (FLOAT, [1, 4])}, {"output": (FLOAT, [7, 3])}, constants)
    assert with_dynamic_batch(model, "input") is None


def test_a_shared_shape_is_patched_where_it_is_the_batch_only() -> None:
    """A constant that another node reads as well stays as it is for that one."""
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["row"], name="row"),
        helper.make_node("Cast", ["shape"], ["numbers"], name="numbers", to=FLOAT),
        helper.make_node("Add", ["row", "numbers"], ["output"], name="add"),
    ]
    model = build(
        nodes, {"input": (FLOAT, [1, 2, 1])}, {"output": (FLOAT, [1, 2])}, {"shape": np.array([1, 2], np.int64)}
    )
    made = with_dynamic_batch(model, "input")
    assert made is not None
    [came] = outputs(made, {"input": np.zeros((3, 2, 1), np.float32)})
    np.testing.assert_array_equal(came, [[1, 2]] * 3)
