"""Class probabilities of both sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClassParity:
    """How one photo's classes compare. `disagreement` says at which place of the first `top_k` other classes stand."""

    largest: float
    top_k: int
    source_ids: tuple[int, ...]
    published_ids: tuple[int, ...]
    disagreement: str | None


def compared(source: Probabilities, published: Probabilities, top_k: int, tie: float) -> ClassParity:
    """Both float32 [classes]. Classes whose probabilities in the source lie within `tie` may change places."""
    ours, theirs = (np.argsort(-side, kind="stable")[:top_k].tolist() for side in (published, source))
    disagreement = next(
        (
            f"class {place} is {theirs_id} in the source ({source[theirs_id]:.4f})"
            f" and {ours_id} in the published model ({published[ours_id]:.4f})"
            for place, (theirs_id, ours_id) in enumerate(zip(theirs, ours, strict=True), start=1)
            if theirs_id != ours_id and source[theirs_id] - source[ours_id] > tie
        ),
        None,
    )
    return ClassParity(
        largest=float(np.abs(source.astype(np.float64) - published).max(initial=0.0)),
        top_k=top_k,
        source_ids=tuple(theirs),
        published_ids=tuple(ours),
        disagreement=disagreement,
    )
