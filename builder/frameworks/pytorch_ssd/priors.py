"""The 3000 prior boxes of pytorch-ssd's `mb1-ssd`, and how a box is written relative to one.

The figures are pytorch-ssd's `vision/ssd/config/mobilenetv1_ssd_config.py`; SSD: Liu et al., 2016, section 2.2.
"""

import itertools
import math

import torch
from torch import Tensor

INPUT_SIZE = 300
"""Side of the network's input, in pixels."""
MAPS = (
    (19, 16, 60, 105),
    (10, 32, 105, 150),
    (5, 64, 150, 195),
    (3, 100, 195, 240),
    (2, 150, 240, 285),
    (1, 300, 285, 330),
)
"""Of each feature map: cells a side, pixels a cell, least and greatest size of a prior in pixels."""
RATIOS = (2, 3)
PRIORS_A_CELL = 2 + 2 * len(RATIOS)
CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2


def mb1_ssd_priors() -> Tensor:
    """Float32 [3000, 4]: centre x, centre y, width, height, as fractions of the input, cut to 0-1; row by row."""
    rows = []
    for cells, cell, least, greatest in MAPS:
        scale = INPUT_SIZE / cell  # not `cells`: 18.75 for 19, as the networks were trained
        small, large = least / INPUT_SIZE, math.sqrt(least * greatest) / INPUT_SIZE
        shapes = [(small, small), (large, large)]
        for ratio in map(math.sqrt, RATIOS):
            shapes += [(small * ratio, small / ratio), (small / ratio, small * ratio)]
        for row, column in itertools.product(range(cells), repeat=2):
            centre = ((column + 0.5) / scale, (row + 0.5) / scale)
            rows += [(*centre, width, height) for width, height in shapes]
    return torch.tensor(rows).clamp(0.0, 1.0)


def boxes_from_locations(locations: Tensor, priors: Tensor) -> Tensor:
    """Corners x1 y1 x2 y2 as fractions of the input, from what the network regresses. Both are [..., 4]."""
    centres = locations[..., :2] * CENTRE_VARIANCE * priors[..., 2:] + priors[..., :2]
    halves = torch.exp(locations[..., 2:] * SIZE_VARIANCE) * priors[..., 2:] / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def locations_from_boxes(boxes: Tensor, priors: Tensor) -> Tensor:
    """The inverse of `boxes_from_locations`."""
    centres, sizes = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    offsets = (centres - priors[..., :2]) / priors[..., 2:] / CENTRE_VARIANCE
    return torch.cat([offsets, torch.log(sizes / priors[..., 2:]) / SIZE_VARIANCE], dim=-1)


def corners_from_priors(priors: Tensor) -> Tensor:
    """x1 y1 x2 y2 of centre x, centre y, width, height."""
    return torch.cat([priors[..., :2] - priors[..., 2:] / 2, priors[..., :2] + priors[..., 2:] / 2], dim=-1)
