"""A checkpoint of `train_ssd.py --net=mb1-ssd`, as a network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from builder.frameworks.job import Job, JobError
from builder.frameworks.pytorch_ssd.labels import foreground_labels
from builder.frameworks.pytorch_ssd.network import Mb1Ssd
from builder.frameworks.pytorch_ssd.priors import PRIORS_A_CELL
from builder.frameworks.state_dict import load_into, state_dict_from_file

FIRST_HEAD = "classification_headers.0.bias"
OTHERS = {
    "classification_headers.0.0.weight": "mb1-ssd-lite, mb2-ssd-lite or another of the -lite networks",
    "base_net.0.weight": "vgg16-ssd",
    "base_net.features.0.0.weight": "a MobileNet-v2 network",
}
"""Names that only other networks of pytorch-ssd have."""


def network_from_job(job: Job, lines: tuple[str, ...]) -> tuple[Mb1Ssd, tuple[str, ...]]:
    """The network in evaluation mode, and the labels without the background.

    Raises:
        JobError: no such checkpoint, one of another network, or labels that do not fit it.
    """
    if job.checkpoint is None:
        torch.manual_seed(job.seed)
        labels = foreground_labels(lines)
        return Mb1Ssd(1 + len(labels)).eval(), labels
    state = state_dict_from_file(job.checkpoint, trusted=job.trust_checkpoint)
    model = Mb1Ssd(_classes(state, job.checkpoint.name))
    load_into(model, state, "mb1-ssd")
    try:
        return model.eval(), foreground_labels(lines, model.classes)
    except ValueError as exc:
        raise JobError("export", str(exc)) from exc


def _classes(state: Mapping[str, Tensor], name: str) -> int:
    for key, network in OTHERS.items():
        if key in state:
            raise JobError("export", f"{name} is of {network}; expected mb1-ssd. Export it with its own code, as ONNX")
    bias = state.get(FIRST_HEAD)
    if bias is None or bias.ndim != 1 or len(bias) % PRIORS_A_CELL:
        raise JobError(
            "export", f"{name} has no {FIRST_HEAD} of mb1-ssd; expected a checkpoint of pytorch-ssd's mb1-ssd"
        )
    return len(bias) // PRIORS_A_CELL
