"""What single operators must not ask for: constants that come from elsewhere, modes, limits.

Source: the restrictions in `docs/operators.md` and the checks of `builtin_op_importers.cpp` of
https://github.com/onnx/onnx-tensorrt, branches 8.4-GA to 10.1-GA, and `docs/operators.md` as of 11.1.
"""

from collections.abc import Callable, Iterator

import numpy as np
import onnx

from builder.graphs.fixed_results import MOST, limit_of
from builder.lint.finding import Finding
from builder.lint.network import STANDARD, Network, settings, told
from builder.lint.operators import Support, Version

RESIZE_MODES = frozenset({"nearest", "linear"})
NEAREST_MODES = frozenset({"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"})
COORDINATES = frozenset({"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"})
MAX_TOP_K = MOST
COMPUTED_K_SINCE: Version = (8, 6)
NMS_SINCE: Version = (8, 5)
NEVER: Version = (99,)
MUST_BE_CONSTANT: dict[str, tuple[tuple[int, str, Version], ...]] = {
    "Conv": ((1, "its weights", (8, 5)),),
    "ConvTranspose": ((1, "its weights", (8, 5)),),
    "CumSum": ((1, "axis", NEVER),),
    "InstanceNormalization": ((1, "scale", (10, 0)), (2, "B", (10, 0))),
    "Slice": ((3, "axes", (10, 3)),),
    "Squeeze": ((1, "axes", NEVER),),
    "TopK": ((1, "K", COMPUTED_K_SINCE),),
    "Unsqueeze": ((1, "axes", NEVER),),
}
"""Inputs by operator, their names, and the TensorRT that first takes them from another node."""
POOLS = frozenset({"AveragePool", "MaxPool", "LpPool"})
FIXED_RESULTS = "build with --target jetson, which makes it constant where the shapes allow it"


def findings(network: Network, support: Support) -> Iterator[Finding]:
    for node in network.nodes():
        if node.domain in STANDARD:
            yield from _constants(network, node, support)
            if (rule := RULES.get(node.op_type)) is not None:
                yield from rule(network, node, support)


def _constants(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    for index, name, since in MUST_BE_CONSTANT.get(node.op_type, ()):
        if not network.is_fed(node, index) or support.version >= since:
            continue
        maker = network.made_by.get(node.input[index])
        if maker is not None and maker.op_type in ("DequantizeLinear", "Identity"):
            continue  # quantised weights are constants behind their scales
        which = "this TensorRT" if since == NEVER else f"TensorRT before {'.'.join(map(str, since))}"
        remedy = FIXED_RESULTS if node.op_type == "TopK" else "export with that fixed"
        yield Finding("fail", told(node), f"{name} is computed, and {which} needs a constant there", remedy)


def _resize(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    has = settings(node)
    asked = (
        ("mode", "nearest", RESIZE_MODES),
        ("coordinate_transformation_mode", "half_pixel", COORDINATES),
        ("nearest_mode", "round_prefer_floor", NEAREST_MODES),
        ("keep_aspect_ratio_policy", "stretch", frozenset({"stretch"})),
        ("antialias", 0, frozenset({0})),
    )
    for name, default, taken in asked:
        if (value := has.get(name, default)) not in taken:
            wanted = " or ".join(map(str, sorted(taken, key=str)))
            yield Finding(
                "fail", told(node), f"{name} is {value}, expected {wanted}", "export with another interpolation"
            )


def _top_k(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    k = network.constant(node, 1) if len(node.input) > 1 else settings(node).get("k")  # an attribute up to opset 9
    if k is not None and (wanted := int(np.asarray(k, np.int64).max(initial=0))) > MAX_TOP_K:
        yield Finding(
            "fail",
            told(node),
            f"asks for {wanted}, and TensorRT gives {MAX_TOP_K} at most",
            f"export with pre_top_k or keep_top_k of {MAX_TOP_K} at most, or build with --target jetson",
        )
    if network.is_fed(node, 1) and support.version >= COMPUTED_K_SINCE:
        limit = limit_of(node.input[1], network.made_by, network.constants)
        if limit is not None and limit > MAX_TOP_K:
            yield Finding(
                "warn",
                told(node),
                f"asks for up to {limit}, as many as there are, and TensorRT gives {MAX_TOP_K} at most",
                "build with --target jetson, which takes the best of them, if there are more than that",
            )
    if not settings(node).get("sorted", 1):
        yield Finding(
            "warn", told(node), "sorted is 0; TensorRT sorts all the same", "nothing, where order is no matter"
        )


def _suppression(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    if support.version < NMS_SINCE:
        yield Finding(
            "fail",
            told(node),
            "TensorRT before 8.5 has it as an experiment only: thresholds must be constants, and the result is padded "
            "to max_output_boxes_per_class, so that what reads it takes boxes that are none",
            "take JetPack 5.1 or later; or export without suppression, for a head that does it afterwards (yolo, ssd)",
        )


def _pool(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    has = settings(node)
    kernel, dilations = has.get("kernel_shape", ()), has.get("dilations", ())
    if isinstance(kernel, list) and len(kernel) not in (2, 3):
        yield Finding(
            "fail", told(node), f"pools over {len(kernel)} axes, expected 2 or 3", "reshape to 2 axes before it"
        )
    if isinstance(dilations, list) and any(dilation != 1 for dilation in dilations):
        yield Finding("fail", told(node), f"dilations are {dilations}, expected ones", "train without dilated pooling")
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield Finding("fail", told(node), "gives Indices, which TensorRT does not", "export without max unpooling")


def _scatter(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    reduction = settings(node).get("reduction", "none")
    if reduction != "none" and (node.op_type == "ScatterND" or support.version < (10, 0)):
        yield Finding("fail", told(node), f"reduction is {reduction}, expected none", "export without reduction")


def _pad(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    mode = settings(node).get("mode", "constant")
    if mode == "wrap" and support.version < (10, 0):
        yield Finding("fail", told(node), "mode is wrap, which came with TensorRT 10", "pad with zeros or reflect")


def _first_output(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    if len([name for name in node.output if name]) > 1:
        yield Finding(
            "fail", told(node), "gives more than its first output, which TensorRT does not", "export that alone"
        )


Rule = Callable[[Network, onnx.NodeProto, Support], Iterator[Finding]]
RULES: dict[str, Rule] = {
    "Resize": _resize,
    "TopK": _top_k,
    "NonMaxSuppression": _suppression,
    **dict.fromkeys(POOLS, _pool),
    "ScatterND": _scatter,
    "ScatterElements": _scatter,
    "Pad": _pad,
    "LayerNormalization": _first_output,
}
