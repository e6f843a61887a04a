"""The network's input as both sides make it: float32 [3, h, w]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import Contract, Normalise, ToRgb
from vision.plan import Steps
from vision.tensor import normalised

Tensor = NDArray[np.float32]
Map = NDArray[np.float32]
"""[h, w], the largest difference of the three channels on the 0-255 scale."""


def steps_of(contract: Contract) -> Steps:
    """Every step from decoded pixels to the network, whether done before or inside the graph."""
    return (*contract.preprocess, *contract.in_graph)


def tensor_from_input(contract: Contract, pixels: NDArray[Any]) -> Tensor:
    """What the network proper reads where the graph gets `pixels` (no batch): the graph's first steps, done here."""
    image = pixels if contract.input.layout == "NHWC" else pixels.transpose(1, 2, 0)
    for step in contract.in_graph:
        image = image[..., ::-1] if isinstance(step, ToRgb) else normalised(image, step)
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


def std_of(contract: Contract) -> NDArray[np.float32]:
    """What a difference of tensors is multiplied by to be one of pixels, [3, 1, 1]."""
    found = [step.std for step in steps_of(contract) if isinstance(step, Normalise)]
    return np.array(found[0] if found else (1, 1, 1), np.float32).reshape(3, 1, 1)


def difference(source: Tensor, published: Tensor, std: NDArray[np.float32]) -> Map:
    """Where two tensors of one size differ, and by how much."""
    gap = np.abs(source - published)
    largest: Map = np.nan_to_num(gap * std, nan=np.inf, posinf=np.inf).max(axis=0)
    return largest
