"""What no check refuses, and a person should hear of: a softmax too many, a network that says the same of all."""

from collections.abc import Iterator, Sequence

import numpy as np

from builder.probes import Probe
from builder.verify import Outputs, Runner, Side
from vision.contract import ClassifierHead
from vision.errors import InvalidImage

SUM_SLACK = 1e-3


def suspicions(side: Side, probes: Sequence[Probe]) -> Iterator[str]:
    """A line each, of a graph as it came."""
    runner = Runner(side)
    seen: list[Outputs] = []
    for probe in probes:
        try:
            seen.append(runner([probe.image_bgr])[0])
        except InvalidImage:  # steps may refuse a shape
            continue
    head = side.contract.postprocess
    if isinstance(head, ClassifierHead) and head.activation == "softmax":
        scores = [outputs[head.scores].astype(np.float64) for outputs in seen]
        if scores and all(one.min() >= 0 and np.allclose(one.sum(axis=-1), 1, atol=SUM_SLACK) for one in scores):
            yield (
                f"{head.scores!r} sums to 1 on every image, so the graph seems to hold its softmax, and activation: "
                "softmax is a second one, which makes all scores alike; is activation: none meant?"
            )
    if len(seen) > 1 and all(_is_equal(seen[0], other) for other in seen[1:]):
        yield f"the network gives the same on all {len(seen)} images, whatever they show: are these its weights?"


def _is_equal(one: Outputs, other: Outputs) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())
