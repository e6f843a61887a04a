"""Raw outputs, boxes and classes of both sides compared, image by image and then all together: everything behind the
preprocessing, whoever ran the two networks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.parity import boxes, classes
from builder.parity.best import MOST_BEST, Best, best_of
from builder.parity.reference import FLOOR, MOST_BOXES
from builder.parity.report import Failure, ImageParity, raw_outputs
from builder.recipes.parts import Tolerance
from vision.contract import Contract, DetectionHead
from vision.heads import Classification, Detections

FAINT = 0.5
"""Boxes down to this part of the score threshold may be partners of clear ones."""

Outputs = Mapping[str, NDArray[Any]]


class Results:
    """Compares image by image; what is for all of them together it keeps until the last."""

    def __init__(self, contract: Contract, tolerance: Tolerance, suppression: boxes.Suppression) -> None:
        self.contract, self.tolerance, self.suppression = contract, tolerance, suppression
        self.best: dict[int, Best] = {}
        """The best boxes of each image, by its place; empty once an image has one above the threshold."""
        self.has_boxes = False

    def outputs(self, found: ImageParity, source: Outputs, published: Outputs) -> ImageParity:
        """Raw outputs by name: the source's without a batch, the published model's of a batch of one."""
        limit = self.tolerance.outputs
        if limit is None:
            return found
        for name in sorted(raw_outputs(self.contract) & set(source)):
            theirs, ours = source[name].astype(np.float64), published[name][0].astype(np.float64)
            if theirs.shape != ours.shape:
                detail = f"{name!r} is {list(theirs.shape)} in the source, {list(ours.shape)} in the published model"
                found = failed(found, Failure("outputs", detail, np.inf))
                continue
            scale = max(float(np.abs(theirs).max(initial=0.0)), 1e-12)
            share = float(np.nan_to_num(np.abs(theirs - ours), nan=np.inf, posinf=np.inf).max(initial=0.0)) / scale
            found = replace(found, outputs={**found.outputs, name: share})
            if share > limit:
                detail = f"{name!r} is off by {share:.3g} of its largest value {scale:.4g}, tolerance {limit:g}"
                found = failed(found, Failure("outputs", detail, excess(share, limit)))
        return found

    def boxes(
        self, found: ImageParity, place: int, theirs: Detections, ours: Detections, head: DetectionHead
    ) -> ImageParity:
        """Boxes in photo pixels from `FLOOR` on; `place` is the image's among all."""
        theirs = boxes.above(theirs, FLOOR, MOST_BOXES)
        floor = FAINT * head.score_threshold
        source, published = (boxes.above(side, floor, MOST_BOXES) for side in (theirs, ours))
        result = boxes.compared(source, published, head.score_threshold, self.tolerance, self.suppression)
        if result.source or result.published:
            self.has_boxes = True
            self.best.clear()
        elif not self.has_boxes:
            self.best[place] = best_of(theirs, ours, self.tolerance, self.suppression)
        return with_boxes(found, result, self.tolerance)

    def classes(self, found: ImageParity, theirs: NDArray[np.float32], ours: Classification) -> ImageParity:
        """`theirs` float32 [classes]. A server tells its best only: of the others is known that they are no better."""
        limit = self.tolerance
        probabilities = np.minimum(theirs, ours.scores.min(initial=np.inf)).astype(np.float32)
        probabilities[ours.label_ids] = ours.scores
        result = classes.compared(theirs, probabilities, min(limit.top_k or 1, len(theirs)), limit.near_tie)
        found = replace(found, classes=result)
        if result.largest > limit.score:
            detail = f"probabilities differ by up to {result.largest:.4g}, tolerance {limit.score:g}"
            found = failed(found, Failure("classes", detail, excess(result.largest, limit.score)))
        if result.disagreement is not None and limit.agreement is None:
            detail = f"{result.disagreement}, beyond a near tie of {limit.near_tie:g}"
            found = failed(found, Failure("classes", detail, 1.0))
        return found

    def together(self, images: list[ImageParity], is_random: bool, remarks: list[str]) -> list[ImageParity]:
        """The images, with what only all of them tell; `remarks` is added to."""
        return _with_agreement(self._with_best_boxes(images, is_random, remarks), self.tolerance)

    def _with_best_boxes(self, images: list[ImageParity], is_random: bool, remarks: list[str]) -> list[ImageParity]:
        """A detector that is sure of nothing, on no image, is held to its best boxes; one without any to nothing."""
        best = self.best
        if self.has_boxes or self.contract.task != "detection" or not best:  # not best: every image failed before
            return images
        if not any(one.result.source or one.result.published for one in best.values()):
            if is_random:
                remarks.append(
                    "neither side finds any box on any image, and the weights are random: none were compared"
                )
                return images
            detail = "neither side finds any box on any image: nothing was compared; give photos with something to find"
            return [failed(images[0], Failure("boxes", f"{detail}: --photos FOLDER", np.inf)), *images[1:]]
        remarks.append(
            f"neither side finds a box above the threshold on any image: the best {MOST_BEST} of each were compared, "
            "with thresholds from the source's own scores, and the tolerance of scores as a part of the best one"
        )
        return [
            with_boxes(image, best[place].result, best[place].tolerance) if place in best else image
            for place, image in enumerate(images)
        ]


def _with_agreement(images: list[ImageParity], tolerance: Tolerance) -> list[ImageParity]:
    """Images of another first class fail where there are too many of them."""
    compared = [image.classes for image in images if image.classes is not None]
    if tolerance.agreement is None or not compared:
        return images
    same = sum(one.disagreement is None for one in compared)
    if same >= tolerance.agreement * len(compared):
        return images
    told = f"the first class is the same on {same} of {len(compared)} images, tolerance {tolerance.agreement:.0%}"
    return [
        failed(image, Failure("classes", f"{image.classes.disagreement}; {told}", 1.0))
        if image.classes is not None and image.classes.disagreement is not None
        else image
        for image in images
    ]


def with_boxes(found: ImageParity, result: boxes.BoxParity, tolerance: Tolerance) -> ImageParity:
    """The image with what came of its boxes."""
    found = replace(found, boxes=result)
    for detail, value, limit in boxes.failures_of(result, tolerance):
        hint = result.other_label if result.lost else None
        found = failed(found, Failure("boxes", detail, excess(value, limit), hint))
    return found


def failed(found: ImageParity, failure: Failure) -> ImageParity:
    """The image with a further failure."""
    return replace(found, failures=(*found.failures, failure))


def excess(value: float, limit: float) -> float:
    """How many times its limit."""
    return value / limit if limit > 0 else float("inf")
