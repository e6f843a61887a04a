"""A network of torchvision or timm by its name, with the weights of a checkpoint."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision import models

from builder.frameworks.job import JobError
from builder.frameworks.state_dict import load_into
from builder.frameworks.torchvision.efficientnet_lite import is_efficientnet_lite, timm_state_from_efficientnet_lite

STEP = "export"


def model_from_name(kind: str, architecture: str, classes: int) -> nn.Module:
    """The network, with random weights, in evaluation mode.

    Raises:
        JobError: no such architecture, or it cannot be made with so many classes.
    """
    known = {"torchvision": _torchvision(), "timm": timm.list_models()}
    if architecture not in known[kind]:
        raise JobError(STEP, _unknown(kind, architecture, known))
    make: Callable[..., Any] = models.get_model if kind == "torchvision" else timm.create_model
    try:
        model: nn.Module = make(architecture, num_classes=classes)
    except (TypeError, ValueError) as exc:
        raise JobError(STEP, f"{kind} does not make a {architecture} with {classes} classes: {exc}") from exc
    return model.eval()


def load_checkpoint(model: nn.Module, state: Mapping[str, Tensor], architecture: str, labels: int) -> None:
    """Load the weights.

    Raises:
        JobError: they are another network's, or have another number of classes than there are labels.
    """
    if is_efficientnet_lite(state) and architecture.startswith("tf_efficientnet_lite"):
        state = timm_state_from_efficientnet_lite(state, model)
    own = model.state_dict()
    other = {name: value for name, value in state.items() if name in own and own[name].shape[:1] != value.shape[:1]}
    same_names = set(own) == set(state)
    if same_names and other and all(own[name].shape[:1] == torch.Size([labels]) for name in other):
        classes = next(iter(other.values())).shape[0]
        raise JobError(
            STEP,
            f"the checkpoint's last layer ({', '.join(other)}) has {classes} classes, and there are {labels} labels. "
            "Give the labels that it was trained with, one a line, in their order",
        )
    load_into(model, state, architecture)


def _torchvision() -> list[str]:
    return models.list_models(module=models)


def _unknown(kind: str, architecture: str, known: Mapping[str, list[str]]) -> str:
    elsewhere = [other for other in known if architecture in known[other]]
    if elsewhere:
        return f"{kind} has no {architecture!r}, but {elsewhere[0]} has: write kind: {elsewhere[0]}"
    close = difflib.get_close_matches(architecture, known[kind], n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(close)}?" if close else f"{kind} has {', '.join(known[kind][:5])}, …"
    return f"{kind} has no classifier {architecture!r}; {advice}"
