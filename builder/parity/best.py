"""The best boxes of a detector that is sure of none: random weights, or photos of something else."""

from typing import NamedTuple

from builder.parity import boxes
from builder.recipes.parts import Tolerance
from vision.heads import Detections

MOST_BEST = 20


class Best(NamedTuple):
    """How they compare, and the tolerance they are held to."""

    result: boxes.BoxParity
    tolerance: Tolerance


def best_of(
    source: Detections,
    published: Detections,
    tolerance: Tolerance,
    suppression: boxes.Suppression,
) -> Best:
    """The source's best, so many as `MOST_BEST`, and whatever the published model scores as high.

    The tolerance of scores becomes a part of the best score: 0.2 is none at all among scores of 0.05. Both sides best
    first.
    """
    scores = source.scores
    highest = max(float(scores.max(initial=0)), float(published.scores.max(initial=0)))
    least = float(scores[MOST_BEST]) if len(scores) > MOST_BEST and scores[MOST_BEST] < scores[0] else 0.0
    scaled = tolerance.model_copy(update={"score": tolerance.score * min(1.0, highest)})
    return Best(boxes.compared(source, published, least, scaled, suppression), scaled)
