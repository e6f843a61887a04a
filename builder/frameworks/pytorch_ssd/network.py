"""pytorch-ssd's `mb1-ssd`: MobileNet-v1 with six SSD heads at 300x300, with its names and shapes of weights.

Written from the papers (Howard et al., 2017; Liu et al., 2016) and the layout of pytorch-ssd's checkpoints, so that a
checkpoint that `train_ssd.py --net=mb1-ssd` saved loads: `base_net.N…`, `extras.N…`, `classification_headers.N…`,
`regression_headers.N…`.
"""

import torch
from torch import Tensor, nn

from builder.frameworks.pytorch_ssd.priors import MAPS, PRIORS_A_CELL, boxes_from_locations, mb1_ssd_priors

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Channels and stride of each depthwise-separable block after the first convolution."""
FIRST_MAP = 12
"""Layers of the trunk that the first head sees."""
EXTRAS = ((1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 128, 256))
HEAD_CHANNELS = (512, 1024, 512, 256, 256, 256)


class Mb1Ssd(nn.Module):
    """`classes` counts the background, which is class 0."""

    priors: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.base_net = _mobilenet_v1()
        self.extras = nn.ModuleList(_extra(*channels) for channels in EXTRAS)
        self.classification_headers = nn.ModuleList(_head(width, classes) for width in HEAD_CHANNELS)
        self.regression_headers = nn.ModuleList(_head(width, 4) for width in HEAD_CHANNELS)
        self.register_buffer("priors", mb1_ssd_priors(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`scores` [n, 3000, classes], softmaxed, and `boxes` [n, 3000, 4] corner fractions, of [n, 3, 300, 300]."""
        logits, locations = self.predictions(images)
        return torch.softmax(logits, dim=2), boxes_from_locations(locations, self.priors)

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the loss sees: logits [n, 3000, classes] and locations relative to the priors [n, 3000, 4]."""
        maps = [self.base_net[:FIRST_MAP](images)]
        maps.append(self.base_net[FIRST_MAP:](maps[-1]))
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        logits = [
            _by_prior(head(x), cells, self.classes)
            for head, x, (cells, *_) in zip(self.classification_headers, maps, MAPS, strict=True)
        ]
        locations = [
            _by_prior(head(x), cells, 4)
            for head, x, (cells, *_) in zip(self.regression_headers, maps, MAPS, strict=True)
        ]
        return torch.cat(logits, dim=1), torch.cat(locations, dim=1)


def _mobilenet_v1() -> nn.Sequential:
    layers = [nn.Sequential(*_conv_bn(3, 32, kernel=3, stride=2))]
    width = 32
    for channels, stride in BLOCKS:
        depthwise = _conv_bn(width, width, kernel=3, stride=stride, groups=width)
        layers.append(nn.Sequential(*depthwise, *_conv_bn(width, channels, kernel=1)))
        width = channels
    return nn.Sequential(*layers)


def _conv_bn(width: int, channels: int, *, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(width, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]


def _extra(width: int, middle: int, channels: int) -> nn.Sequential:
    shrink = nn.Conv2d(middle, channels, 3, stride=2, padding=1)
    return nn.Sequential(nn.Conv2d(width, middle, 1), nn.ReLU(), shrink, nn.ReLU())


def _head(width: int, values: int) -> nn.Conv2d:
    return nn.Conv2d(width, PRIORS_A_CELL * values, 3, padding=1)


def _by_prior(x: Tensor, cells: int, values: int) -> Tensor:
    """[n, priors a cell * values, cells, cells] to [n, cells * cells * priors a cell, values], for any n."""
    return x.permute(0, 2, 3, 1).reshape(-1, cells * cells * PRIORS_A_CELL, values)
