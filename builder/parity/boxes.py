"""Boxes of both sides paired one to one, by overlap and label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builder.recipes.parts import Tolerance
from vision.heads import Detections

LEAST_PAIR_IOU = 0.5
"""Boxes that overlap less are two findings, not one found twice (VOC's rule for a hit)."""


TWIN_SLACK = 0.05
"""A box that overlaps another by this much less than the suppression's threshold may have been suppressed by it."""
Suppression = float | None
"""The overlap at which a network's own boxes suppress one another; None where nobody knows, or none do."""


@dataclass(frozen=True, slots=True)
class BoxParity:
    """How the boxes above `threshold` of one photo compare. IoU and score are of the pairs; 1 and 0 without any."""

    threshold: float
    source: int
    published: int
    matched: int
    unmatched_source: int
    unmatched_published: int
    least_iou: float
    largest_score: float
    other_label: str | None = None
    """One box that has its partner under another label, in words."""
    twins: int = 0
    """Of those without a partner, so many are explained: a better box of their label on the other side suppresses."""

    @property
    def unmatched(self) -> int:
        return self.unmatched_source + self.unmatched_published

    @property
    def lost(self) -> int:
        """Boxes without a partner that nothing explains."""
        return self.unmatched - self.twins


def compared(
    source: Detections,
    published: Detections,
    threshold: float,
    tolerance: Tolerance,
    suppression: Suppression = None,
) -> BoxParity:
    """Pair the boxes; one that scores above `threshold` and the tolerance wants a partner, whatever that scores.

    A pair outside the tolerance stays a pair, and says by how much it is off. `suppression` as in `Suppression`: a box
    without a partner is a twin where a box of its label on the other side would have suppressed it.
    """
    slack = tolerance.score
    overlap = iou(source.boxes_xyxy, published.boxes_xyxy)
    same = source.label_ids[:, None] == published.label_ids[None]
    gaps = source.scores[:, None] - published.scores[None]
    clear_source, clear_published = (side.scores > threshold + slack for side in (source, published))
    paired = _pairs(np.where(same, overlap, 0), gaps)
    matched = [(s, p) for s, p in paired if clear_source[s] or clear_published[p]]
    alone_source, alone_published = clear_source.copy(), clear_published.copy()
    alone_source[[s for s, _ in matched]] = False
    alone_published[[p for _, p in matched]] = False
    near = same & (overlap >= (np.inf if suppression is None else suppression - TWIN_SLACK))
    twins = alone_source & (near & (gaps <= slack)).any(axis=1)
    published_twins = alone_published & (near & (gaps >= -slack)).any(axis=0)
    return BoxParity(
        threshold=threshold,
        source=int((source.scores > threshold).sum()),
        published=int((published.scores > threshold).sum()),
        matched=len(matched),
        unmatched_source=int(alone_source.sum()),
        unmatched_published=int(alone_published.sum()),
        least_iou=min((float(overlap[pair]) for pair in matched), default=1.0),
        largest_score=max((abs(float(gaps[pair])) for pair in matched), default=0.0),
        other_label=_other_label(source, published, overlap, alone_source),
        twins=int(twins.sum() + published_twins.sum()),
    )


def on_photo(detections: Detections, photo_hw: tuple[int, int], short_by: int) -> Detections:
    """Clipped as serving clips (`vision.heads.borders`), without those that lie outside; what is clipped is as it was.

    Frameworks let boxes run over the edge, and no server does.
    """
    height, width = photo_hw
    boxes = detections.boxes_xyxy.copy()
    boxes[:, :2] = boxes[:, :2].clip(0)
    boxes[:, 2:] = np.minimum(boxes[:, 2:], np.array((width - short_by, height - short_by), np.float32))
    seen = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    return Detections(boxes[seen], detections.scores[seen], detections.label_ids[seen])


def failures_of(result: BoxParity, tolerance: Tolerance) -> list[tuple[str, float, float]]:
    """What is outside: in words, its value, and its limit."""
    told = []
    allowed = tolerance.unmatched or 0
    if result.lost > 0 or result.twins > allowed:
        lone = (
            f"{result.unmatched_source} of the source's {result.source} boxes above {result.threshold:.3g} and"
            f" {result.unmatched_published} of the published model's {result.published} have no partner"
        )
        why = f", {result.twins} of them suppressed by a twin" if result.twins else ""
        told.append((f"{lone}{why}, tolerance {allowed} twins", float(result.unmatched), float(allowed)))
    if tolerance.iou is not None and result.least_iou < tolerance.iou:
        detail = f"paired boxes overlap by {result.least_iou:.4f} at least, tolerance {tolerance.iou:g}"
        told.append((detail, 1 - result.least_iou, 1 - tolerance.iou))
    if result.largest_score > tolerance.score:
        detail = f"scores of paired boxes differ by up to {result.largest_score:.4g}, tolerance {tolerance.score:.3g}"
        told.append((detail, result.largest_score, tolerance.score))
    return told


def above(detections: Detections, floor: float, limit: int) -> Detections:
    """The `limit` best of those above `floor`."""
    best = np.argsort(-detections.scores, kind="stable")
    best = best[detections.scores[best] > floor][:limit]
    return Detections(detections.boxes_xyxy[best], detections.scores[best], detections.label_ids[best])


def iou(first_xyxy: NDArray[np.float32], second_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of every pair, [len(first), len(second)]; identical boxes overlap fully, even empty."""
    a, b = first_xyxy.astype(np.float64)[:, None], second_xyxy.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = sides.clip(0).prod(axis=2)
    either = (a[..., 2:] - a[..., :2]).prod(axis=2) + (b[..., 2:] - b[..., :2]).prod(axis=2) - both
    shared: NDArray[np.float64] = both / np.where(either > 0, either, 1)
    return np.where((a == b).all(axis=2), 1.0, shared)


def _pairs(overlap: NDArray[np.float64], score_gap: NDArray[np.float32]) -> list[tuple[int, int]]:
    """One to one, the best overlap first; of equal overlaps the closer score."""
    rows, columns = np.nonzero(overlap >= LEAST_PAIR_IOU)
    order = np.lexsort((np.abs(score_gap[rows, columns]), -overlap[rows, columns]))
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    pairs = []
    for s, p in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if s not in taken_rows and p not in taken_columns:
            pairs.append((s, p))
            taken_rows.add(s)
            taken_columns.add(p)
    return pairs


def _other_label(
    source: Detections, published: Detections, overlap: NDArray[np.float64], alone: NDArray[np.bool_]
) -> str | None:
    for s in np.flatnonzero(alone):
        elsewhere = published.label_ids != source.label_ids[s]
        near = np.flatnonzero(elsewhere & (overlap[s] >= 1 - (1 - LEAST_PAIR_IOU) / 5))
        if len(near):
            other = published.label_ids[near[0]]
            return f"a box of label {source.label_ids[s]} in the source has label {other} in the published model"
    return None
