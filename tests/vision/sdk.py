"""The mmdeploy SDK's own preprocessing, seen from outside.

The SDK hands out results, not tensors. So a classification bundle is written whose network does nothing but flatten
its input: the "scores" it returns, put back in order by their label ids, are the preprocessed tensor.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

mmdeploy_runtime = pytest.importorskip(
    "mmdeploy_runtime", reason="mmdeploy_runtime has wheels for x86-64 and Python 3.11 alone"
)

LOAD = {"type": "LoadImageFromFile"}
COLLECT = {"type": "Collect", "keys": ["img"], "meta_keys": ["ori_shape", "img_shape", "pad_shape", "scale_factor"]}
PLAIN = {"type": "Normalize", "mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": False}
"""The SDK's CPU networks take float: a normalisation that changes nothing."""
COLOUR = {"type": "Normalize", "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}
TENSOR = {"type": "ImageToTensor", "keys": ["img"]}
FORMAT = {"type": "DefaultFormatBundle"}


class SdkPreprocessing:
    """The transforms of one `pipeline.json`, run by `mmdeploy_runtime` on the CPU."""

    def __init__(self, folder: Path, transforms: Sequence[dict[str, Any]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(_flatten(), folder / "end2end.onnx")
        (folder / "deploy.json").write_text(json.dumps(_DEPLOY))
        (folder / "pipeline.json").write_text(json.dumps(_pipeline(transforms)))
        (folder / "detail.json").write_text("{}")
        self._classifier = mmdeploy_runtime.Classifier(str(folder), "cpu", 0)

    def __call__(self, image_bgr: NDArray[np.uint8], shape_chw: tuple[int, int, int]) -> NDArray[np.float32]:
        """What the network would get, float32 [3, h, w]; `shape_chw` is what it is expected to be.

        Raises:
            AssertionError: if the SDK made another number of values.
        """
        pairs = self._pairs(image_bgr)
        values = np.empty(len(pairs), np.float32)
        values[[index for index, _ in pairs]] = [value for _, value in pairs]
        assert values.size == np.prod(shape_chw), f"the SDK made {values.size} values, expected {shape_chw}"
        return values.reshape(shape_chw)

    def count(self, image_bgr: NDArray[np.uint8]) -> int:
        """How many values the network would get."""
        return len(self._pairs(image_bgr))

    def _pairs(self, image_bgr: NDArray[np.uint8]) -> list[tuple[int, float]]:
        pairs: list[tuple[int, float]] = self._classifier(image_bgr)
        return pairs


_DEPLOY = {
    "version": "1.3.1",
    "task": "Classifier",
    "models": [
        {
            "name": "flatten",
            "net": "end2end.onnx",
            "weights": "",
            "backend": "onnxruntime",
            "precision": "FP32",
            "batch_size": 1,
            "dynamic_shape": True,
        }
    ],
    "customs": [],
}


def _flatten() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["output"])],
        "flatten",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, "n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _pipeline(transforms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "pipeline": {
            "input": ["img"],
            "output": ["post_output"],
            "tasks": [
                {
                    "type": "Task",
                    "module": "Transform",
                    "name": "Preprocess",
                    "input": ["img"],
                    "output": ["prep_output"],
                    "transforms": [LOAD, *transforms, COLLECT],
                },
                {
                    "name": "flatten",
                    "type": "Task",
                    "module": "Net",
                    "is_batched": True,
                    "input": ["prep_output"],
                    "output": ["infer_output"],
                    "input_map": {"img": "input"},
                    "output_map": {},
                },
                {
                    "type": "Task",
                    "module": "mmcls",
                    "name": "postprocess",
                    "component": "LinearClsHead",
                    "params": {"topk": 100_000_000},
                    "input": ["infer_output"],
                    "output": ["post_output"],
                },
            ],
        }
    }
