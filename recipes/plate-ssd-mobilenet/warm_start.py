"""Put the COCO weights of a narrower SSD-MobileNet-v1 (ONNX, BatchNorm folded) into `mb1-ssd`.

    python recipes/plate-ssd-mobilenet/warm_start.py ssd_mobilenet_v1_coco.onnx --out warm-start.pth

That network has three quarters of the channels. The wider one computes what it computed: its own channels come first,
the others get random weights into them and zeros from them into the old. The heads stay random: other priors.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from builder.frameworks.pytorch_ssd.network import Mb1Ssd

SEED = 0
CLASSES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.save(warm_started(onnx.load(options.onnx)).state_dict(), options.out)


def warm_started(donor: onnx.ModelProto) -> Mb1Ssd:
    torch.manual_seed(SEED)
    model = Mb1Ssd(CLASSES)
    weights = _convolutions(donor)
    layers = _layers(model)
    for number, ((convolution, norm), (weight, bias)) in enumerate(zip(layers, weights, strict=False)):
        with torch.no_grad():
            _widen(convolution, weight, new_inputs=number == 0)
            biases = convolution.bias if norm is None else norm.bias
            biases.zero_()
            biases[: len(bias)] = bias
            if norm is not None:
                norm.weight.fill_((1 + norm.eps) ** 0.5)  # with mean 0 and variance 1: exactly the identity
    for head in model.regression_headers:
        nn.init.zeros_(head.bias)
    for head in model.classification_headers:
        nn.init.normal_(head.weight, std=0.01)
        with torch.no_grad():
            head.bias.view(-1, CLASSES)[:] = torch.tensor([4.0, 0.0])  # nearly everything is background
    return model


def _convolutions(donor: onnx.ModelProto) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases in the order of the graph: the trunk's 27, the extras' 8, then the heads'."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in donor.graph.initializer}
    found = [node.input for node in donor.graph.node if node.op_type == "Conv"]
    return [tuple(torch.from_numpy(np.array(stored[name])) for name in names[1:3]) for names in found]


def _layers(model: Mb1Ssd) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    modules = [module for block in model.base_net for module in block if not isinstance(module, nn.ReLU)]
    trunk = list(zip(modules[::2], modules[1::2], strict=True))
    return trunk + [(extra[place], None) for extra in model.extras for place in (0, 2)]


def _widen(convolution: nn.Conv2d, donor: Tensor, *, new_inputs: bool) -> None:
    out_channels, in_channels = donor.shape[:2]
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.groups == 1 and not new_inputs:
        convolution.weight[:out_channels] = 0
    convolution.weight[:out_channels, :in_channels] = donor


if __name__ == "__main__":
    main()
