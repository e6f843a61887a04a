from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from builder.graphs.fixed_results import MOST, with_fixed_results
from builder.graphs.session import cpu_session
from builder.lint.check import lint
from builder.lint.shape_rules import Profile
from tests.builder.convolutions import FLOAT, build, classifier, photos

ROOT = Path(__file__).parents[2]
RTMDET = ROOT / "recipes/balloon-rtmdet/sdk/end2end.onnx"
SIDE, KEPT = 416, 300


@pytest.fixture(scope="module")
def rtmdet() -> onnx.ModelProto:
    return onnx.load(RTMDET)


def feeds(*batches: int) -> list[dict[str, NDArray[Any]]]:
    random = np.random.default_rng(0)
    return [{"input": random.normal(0, 1, (batch, 3, SIDE, SIDE)).astype(np.float32)} for batch in batches]


def ran(model: onnx.ModelProto, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return [np.asarray(value) for value in cpu_session(model.SerializeToString()).run(None, feed)]


def test_rtmdet_answers_as_before_and_every_tensorrt_takes_it(rtmdet: onnx.ModelProto) -> None:
    """The same boxes and labels in the same order, then empty rows; of one size, whatever is in the photo."""
    assert [finding.where for finding in lint(rtmdet, "8.5.2", Profile(8))] == [
        "/TopK (TopK)",
        "/TopK_1 (TopK)",
        "output 'labels'",
    ]
    [warning] = lint(rtmdet, "10.3", Profile(8))
    assert "up to 5000" in warning.reason
    made = with_fixed_results(rtmdet, feeds(1, 2)).model
    onnx.checker.check_model(made, full_check=True)
    for version in ("8.5.2", "8.6", "10.3", "10.13"):
        assert lint(made, version, Profile(8)) == []
    for feed in feeds(1, 3):
        dets, labels = ran(rtmdet, feed)
        fixed, ids = ran(made, feed)
        batch = len(feed["input"])
        assert (fixed.shape, ids.shape, ids.dtype.name) == ((batch, KEPT, 5), (batch, KEPT), "int32")
        count = dets.shape[1]
        assert count > 10
        np.testing.assert_array_equal(fixed[:, :count], dets)
        np.testing.assert_array_equal(ids[:, :count], labels)
        assert not fixed[:, count:].any()
    shapes = [[side.dim_value for side in value.type.tensor_type.shape.dim][1:] for value in made.graph.output]
    assert shapes == [[KEPT, 5], [KEPT]]


def test_a_network_without_such_ends_stays_as_it_is() -> None:
    """The same object: nothing is written anew that need not be."""
    model = classifier()
    assert with_fixed_results(model, photos(2)).model is model


def _best(k: int, rows: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "one"], ["rows"], name="rows"),
        helper.make_node("Less", ["limit", "rows"], ["fewer"], name="fewer"),
        helper.make_node("Where", ["fewer", "limit", "rows"], ["k"], name="least"),
        helper.make_node("TopK", ["input", "k"], ["output", "where"], name="best"),
    ]
    return build(
        nodes,
        {"input": (FLOAT, [1, rows])},
        {"output": (FLOAT, [1, "n"])},
        {"one": np.array([1]), "limit": np.array([k])},
    )


@pytest.mark.parametrize(("limit", "rows", "k"), [(5, 9, 5), (30_000, 9, 9), (30_000, 9000, MOST)])
def test_k_is_what_the_networks_size_makes_of_it(limit: int, rows: int, k: int) -> None:
    """The limit or all rows, whichever is less; and never more than any TensorRT sorts."""
    values = np.random.default_rng(0).permutation(rows).astype(np.float32)[None]
    fitted = with_fixed_results(_best(limit, rows), [{"input": values}])
    [found] = ran(fitted.model, {"input": values})
    np.testing.assert_array_equal(found[0], np.sort(values[0])[::-1][:k])
    assert [node.op_type for node in fitted.model.graph.node] == ["TopK"]
    assert ("no TensorRT sorts more" in fitted.notes[0]) == (k == MOST)


def test_a_k_that_only_the_data_decides_is_left_alone() -> None:
    """Where no empty rows can be added, and no limit is known; lint names it."""
    nodes = [
        helper.make_node("NonZero", ["input"], ["found"], name="found"),
        helper.make_node("Shape", ["found"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "one"], ["k"], name="count"),
        helper.make_node("TopK", ["input", "k"], ["output", "where"], name="best"),
    ]
    model = build(nodes, {"input": (FLOAT, [1, 9])}, {"output": (FLOAT, [1, "n"])}, {"one": np.array([1])})
    feed = {"input": np.arange(9, dtype=np.float32)[None]}
    assert with_fixed_results(model, [feed]).model is model
    assert [finding.where for finding in lint(model, "8.5.2", Profile(1))] == ["best (TopK)"]


def test_a_k_that_is_counted_in_the_photo_is_left_alone() -> None:
    """It is the same on every empty image, and another on each photo."""
    nodes = [
        helper.make_node("Greater", ["input", "half"], ["above"], name="above"),
        helper.make_node("Cast", ["above"], ["ones"], name="ones", to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["ones"], ["count"], name="count", keepdims=0),
        helper.make_node("Reshape", ["count", "one"], ["k"], name="k"),
        helper.make_node("TopK", ["input", "k"], ["output", "where"], name="best"),
    ]
    constants: dict[str, NDArray[Any]] = {"one": np.array([1]), "half": np.array(0.5, np.float32)}
    model = build(nodes, {"input": (FLOAT, [1, 9])}, {"output": (FLOAT, [1, "n"])}, constants)
    assert with_fixed_results(model, [{"input": np.zeros((1, 9), np.float32)}]).model is model


def test_an_output_that_another_node_reads_is_cast_once_for_all() -> None:
    """The node goes on reading INT64; what comes out is INT32."""
    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], name="ids", to=TensorProto.INT64),
        helper.make_node("Add", ["ids", "one"], ["next"], name="next"),
    ]
    outputs: dict[str, tuple[int, list[int | str]]] = {
        "ids": (TensorProto.INT64, [1, 3]),
        "next": (TensorProto.INT64, [1, 3]),
    }
    model = build(nodes, {"input": (FLOAT, [1, 3])}, outputs, {"one": np.array([1])})
    made = with_fixed_results(model, [{"input": np.arange(3, dtype=np.float32)[None]}]).model
    onnx.checker.check_model(made, full_check=True)
    ids, after = ran(made, {"input": np.arange(3, dtype=np.float32)[None]})
    assert (ids.dtype.name, after.dtype.name) == ("int32", "int32")
    assert (ids.tolist(), after.tolist()) == ([[0, 1, 2]], [[1, 2, 3]])
