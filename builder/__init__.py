"""From a trained network to a model that Triton serves: read, checked, folded, verified, published."""

import os

# ONNX Runtime from 1.31 on gives the machine an id and reports its sessions to its makers unless it is told not to. It
# reads this when it is loaded; the models that the builder publishes say the same (backends/onnxruntime/model.py).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
