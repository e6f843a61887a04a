"""At which overlap a published network's boxes suppress one another."""

import onnx
from onnx import numpy_helper

from builder.parity.boxes import Suppression
from builder.verify import Side
from vision.contract import SsdHead, YoloHead

OPERATOR = "NonMaxSuppression"
IOU_INPUT = 3


def suppression_of(side: Side) -> Suppression:
    """The head's own threshold, or the one constant that the graph's suppressions have; None where neither says so."""
    head = side.contract.postprocess
    if isinstance(head, SsdHead) or (isinstance(head, YoloHead) and head.layout != "v10"):
        return head.iou_threshold
    if side.contract.task != "detection":
        return None
    model = onnx.load_model_from_string(side.model)
    named = [
        node.input[IOU_INPUT]
        for node in model.graph.node
        if node.op_type == OPERATOR and len(node.input) > IOU_INPUT and node.input[IOU_INPUT]
    ]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in named and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    found = {float(numpy_helper.to_array(constants[name]).reshape(-1)[0]) for name in named if name in constants}
    return min(found) if found else None
