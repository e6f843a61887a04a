from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests.builder.conftest import Builder
from tests.builder.recipes import convolutional, onnx_source, write_recipe


def test_a_second_softmax_is_noted(build: Builder, tmp_path: Path) -> None:
    """The graph's own softmax and the recipe's: scores that are all alike."""
    source = onnx_source(tmp_path / "toy")
    head = {**source["postprocess"], "activation": "softmax"}
    build(write_recipe(tmp_path / "twice", {**onnx_source(tmp_path / "twice"), "postprocess": head}))
    assert "note: 'output' sums to 1 on every image" in build.out
    build(write_recipe(tmp_path / "toy", source))
    assert "sums to 1" not in build.out


def test_a_dead_network_is_noted(build: Builder, tmp_path: Path) -> None:
    """The same of every image, whatever it shows; one that sees is not."""
    recipe = write_recipe(tmp_path / "dead", onnx_source(tmp_path / "dead"))
    (recipe / "network.onnx").write_bytes(_changed(np.zeros_like).SerializeToString())
    build(recipe)
    assert "note: the network gives the same on all 7 images" in build.out
    build(write_recipe(tmp_path / "toy", onnx_source(tmp_path / "toy")))
    assert "gives the same" not in build.out


def test_names_that_two_ids_have_are_noted(build: Builder, tmp_path: Path) -> None:
    """They are served so, and a person should know."""
    assert build(write_recipe(tmp_path / "toy", onnx_source(tmp_path / "toy", labels=["a", "b", "a", "c"]))) == 0
    assert "note: label ids 0, 2 are all 'a'" in build.out


def _changed(change: Callable[[Any], Any]) -> onnx.ModelProto:
    model = convolutional()
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), "weights"))
    return model
