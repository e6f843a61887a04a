"""Jobs on detectors of pytorch-ssd: an `mb1-ssd` checkpoint, or the ONNX that `onnx_export.py` wrote.

The settings are `builder.sources.pytorch_ssd`.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from builder.frameworks.job import Answer, Job, JobError, Telling
from builder.frameworks.labels import labels_from_setting
from builder.frameworks.pytorch_ssd.checkpoint import network_from_job
from builder.frameworks.pytorch_ssd.labels import foreground_labels
from builder.frameworks.pytorch_ssd.layout import BOXES, INPUT, SCORES, head, steps
from builder.frameworks.pytorch_ssd.network import Mb1Ssd
from builder.frameworks.pytorch_ssd.predictor import detections_from_outputs, tensor_from_image
from builder.frameworks.pytorch_ssd.priors import INPUT_SIZE

OPSET = 13
TOOLS = ("torch", "onnx", "numpy", "opencv-python-headless")

Network = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Predictor:
    """`network` gives scores [1, n, classes] and boxes [1, n, 4] of [1, 3, h, w]."""

    network: Network
    size_wh: tuple[int, int]

    def answer(self, image_bgr: NDArray[np.uint8], score_floor: float) -> Answer:
        """pytorch-ssd's own inference of one photo; boxes may stick out of it."""
        tensor = tensor_from_image(image_bgr, self.size_wh)
        with torch.inference_mode():
            scores, boxes = (values[0] for values in self.network(tensor[None]))
            found = detections_from_outputs(scores, boxes, image_bgr.shape[:2], score_floor)
        corners, confidences, label_ids = (values.numpy() for values in found)
        return Answer(
            tensor=tensor.numpy(),
            outputs={SCORES: scores.numpy(), BOXES: boxes.numpy()},
            boxes_xyxy=corners,
            scores=confidences,
            label_ids=label_ids,
        )


def export(job: Job, telling: Telling) -> None:
    """Write `model.onnx` in the layout of pytorch-ssd's export, with any batch, and `source.json`."""
    network, labels = network_from_job(job, labels_from_setting(job.source["labels"]))
    telling.progress(0, 1, "mb1-ssd")
    (job.out / "model.onnx").write_bytes(_onnx(network))
    source = {
        "name": "mb1-ssd",
        "task": "detection",
        "labels": labels,
        "input_name": INPUT,
        "layout": "NCHW",
        "preprocess": steps((INPUT_SIZE, INPUT_SIZE)),
        "postprocess": head(),
        "precision": "fp32",
        "tools": {tool: version(tool) for tool in TOOLS},
        "notes": [] if job.checkpoint else [f"random weights from seed {job.seed}: the answers mean nothing"],
    }
    (job.out / "source.json").write_text(json.dumps(source, indent=1))
    telling.progress(1, 1)


def infer(job: Job, telling: Telling) -> None:
    """Write an answer for each photo: decoded and resized by OpenCV, as pytorch-ssd does."""
    predictor = _predictor(job)
    for number, photo in enumerate(job.photos):
        telling.progress(number, len(job.photos), photo.name)
        image = cv2.imread(str(photo), cv2.IMREAD_COLOR)
        if image is None:
            raise JobError("infer", f"OpenCV cannot read {photo}; expected a photo")
        predictor.answer(image, job.score_floor).save(job.out / f"{number:05}.npz")
    telling.progress(len(job.photos), len(job.photos))


def _predictor(job: Job) -> Predictor:
    lines = labels_from_setting(job.source["labels"])
    if job.source.get("onnx") is None:
        return Predictor(network_from_job(job, lines)[0], (INPUT_SIZE, INPUT_SIZE))
    session = ort.InferenceSession(job.source["onnx"], providers=["CPUExecutionProvider"])
    [taken] = session.get_inputs()

    def run(tensor: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = session.run([SCORES, BOXES], {taken.name: tensor.numpy()})
        foreground_labels(lines, scores.shape[-1])
        return torch.from_numpy(scores), torch.from_numpy(boxes)

    return Predictor(run, (taken.shape[3], taken.shape[2]))


def _onnx(network: Mb1Ssd) -> bytes:
    written = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE),),
        written,
        input_names=[INPUT],
        output_names=[SCORES, BOXES],
        dynamic_axes={name: {0: "batch"} for name in (INPUT, SCORES, BOXES)},
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load_model_from_string(written.getvalue())
    for output, columns in zip(model.graph.output, (network.classes, 4), strict=True):  # the tracer lost them
        for axis, side in enumerate((len(network.priors), columns), start=1):
            output.type.tensor_type.shape.dim[axis].dim_value = side
    return model.SerializeToString()
