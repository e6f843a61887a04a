"""The size of an input that a graph leaves open and its preprocessing does not."""

from collections.abc import Sequence
from typing import Literal

import onnx

from vision.contract import CenterCrop, Normalise, PadCentred, PadToSize, ResizeStretch, Step, ToRgb


def size_from_steps(steps: Sequence[Step]) -> tuple[int, int] | None:
    """Height and width in pixels that every photo has after `steps`; None where they differ."""
    size = None
    for step in steps:
        if isinstance(step, ResizeStretch | PadToSize | PadCentred | CenterCrop):
            size = step.size_hw
        elif not isinstance(step, ToRgb | Normalise):
            size = None
    return size


def with_size(
    model: onnx.ModelProto, input_name: str, layout: Literal["NHWC", "NCHW"], size_hw: tuple[int, int]
) -> onnx.ModelProto:
    """A copy whose input has that height and width.

    Its tensors have a bound then, so that they fit a place in shared memory, and TensorRT needs no profile for them.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    entry = next(entry for entry in sized.graph.input if entry.name == input_name)
    first = layout.index("H")
    for side, pixels in zip(entry.type.tensor_type.shape.dim[first : first + 2], size_hw, strict=True):
        side.Clear()
        side.dim_value = pixels
    del sized.graph.value_info[:]  # they speak of any size
    return sized
