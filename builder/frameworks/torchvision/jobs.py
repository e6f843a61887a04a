"""Jobs on classifiers of torchvision and timm; the settings are `builder.sources.torchvision`."""

import io
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import onnx
import timm
import torch
from torch import nn
from torchvision import transforms

from builder.frameworks.job import Answer, Job, JobError, Telling
from builder.frameworks.labels import labels_from_setting
from builder.frameworks.state_dict import state_dict_from_file
from builder.frameworks.torchvision.architecture import load_checkpoint, model_from_name
from builder.frameworks.torchvision.preprocessing import (
    picture_from_file,
    tensor_from_picture,
    transforms_from_declaration,
)
from builder.frameworks.torchvision.steps import network_hw, steps_from_transforms

TOP_K = 5
INPUT, OUTPUT = "input", "output"
OPSETS = (13, 17)
"""The older is read by more versions of TensorRT; what it lacks is exported with the newer."""
TOOLS = ("torch", "torchvision", "timm", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class Trained:
    """`transform` makes the network's tensor of an RGB picture."""

    model: nn.Module
    transform: transforms.Compose
    labels: tuple[str, ...]


def export(job: Job, telling: Telling) -> None:
    """Write `model.onnx`, with any batch, and `source.json`."""
    trained = _trained(job)
    steps = steps_from_transforms(trained.transform)
    telling.progress(0, 1, str(job.source["architecture"]))
    exported = _onnx(trained.model, network_hw(steps))
    (job.out / "model.onnx").write_bytes(exported.SerializeToString())
    producer = {output: node.op_type for node in exported.graph.node for output in node.output}
    head = {
        "head": "classifier",
        "scores": OUTPUT,
        "activation": "none" if producer[OUTPUT] == "Softmax" else "softmax",
        "top_k": min(TOP_K, len(trained.labels)),
    }
    source = {
        "name": job.source["architecture"],
        "task": "classification",
        "labels": trained.labels,
        "input_name": INPUT,
        "layout": "NCHW",
        "preprocess": steps,
        "postprocess": head,
        "precision": "fp32",
        "tools": {tool: version(tool) for tool in TOOLS},
        "notes": [] if job.checkpoint else [f"random weights from seed {job.seed}: the answers mean nothing"],
    }
    (job.out / "source.json").write_text(json.dumps(source, indent=1))
    telling.progress(1, 1)


def infer(job: Job, telling: Telling) -> None:
    """Write an answer for each photo: decoded by Pillow, transformed by torchvision, inferred by torch."""
    trained = _trained(job)
    for number, photo in enumerate(job.photos):
        telling.progress(number, len(job.photos), photo.name)
        tensor = tensor_from_picture(trained.transform, picture_from_file(photo))
        with torch.inference_mode():
            scores = trained.model(torch.from_numpy(tensor)[None])[0]
        answer = Answer(tensor, {OUTPUT: scores.numpy()}, probabilities=torch.softmax(scores, dim=0).numpy())
        answer.save(job.out / f"{number:05}.npz")
    telling.progress(len(job.photos), len(job.photos))


def _trained(job: Job) -> Trained:
    architecture = job.source["architecture"]
    labels = labels_from_setting(job.source["labels"])
    torch.manual_seed(job.seed)
    model = model_from_name(job.kind, architecture, len(labels))
    if job.checkpoint is not None:
        state = state_dict_from_file(job.checkpoint, trusted=job.trust_checkpoint)
        load_checkpoint(model, state, architecture, len(labels))
    return Trained(model, _transform(job, model), labels)


def _transform(job: Job, model: nn.Module) -> transforms.Compose:
    declared = job.source["preprocess"]
    if declared != "timm":
        return transforms_from_declaration(declared)
    if job.kind != "timm":
        raise JobError("contract", f"preprocess: timm is for kind: timm, and this is {job.kind}; list the transforms")
    created: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    return created


def _onnx(model: nn.Module, size_hw: tuple[int, int]) -> onnx.ModelProto:
    failures = []
    for opset in OPSETS:
        written = io.BytesIO()
        try:
            torch.onnx.export(
                model,
                (torch.zeros(1, 3, *size_hw),),
                written,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                opset_version=opset,
                dynamo=False,
            )
        except Exception as exc:  # noqa: BLE001 - the exporter raises whatever the network's operators do
            failures.append(f"opset {opset}: {type(exc).__name__}: {str(exc).partition(chr(10))[0]}")
        else:
            return onnx.load_model_from_string(written.getvalue())
    raise JobError("export", f"torch cannot export the network as ONNX ({'; '.join(failures)})")
