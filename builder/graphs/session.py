"""ONNX Runtime sessions as the builder opens them: on the CPU, and quiet but for errors."""

import onnxruntime as ort


def cpu_session(model: bytes, *, as_written: bool = False) -> ort.InferenceSession:
    """A session; whatever ONNX Runtime raises is for the caller to put into words.

    `as_written` runs the nodes as they stand in the graph, and not as this machine would fuse them.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
