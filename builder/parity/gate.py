"""The gate: every image compared, and then what only all of them together can tell."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from builder.parity.best import MOST_BEST
from builder.parity.comparison import MOST_SCALES, Ask, Comparison, failed, with_boxes
from builder.parity.needed import check_tolerance
from builder.parity.page import MAX_PICTURES
from builder.parity.precision_causes import CALIBRATE, overflowing_node, unfit_calibration
from builder.parity.reference import Reference
from builder.parity.report import STEP, Failure, ImageParity, ParityReport
from builder.recipes.parts import Precision, Tolerance
from builder.verify import Side
from vision.errors import BuildError


def check_parity(
    published: Side,
    references: Iterable[Reference],
    tolerance: Tolerance,
    *,
    precision: Precision,
    on_image: Callable[[str], None] | None = None,
    labels: Sequence[str] | None = None,
    reference: str = "the source framework's own inference",
    name: str | None = None,
    is_random: bool = False,
    ask: Ask | None = None,
) -> ParityReport:
    """Compare image by image; `on_image` is told each name when it is done.

    Args:
        published: the graph that would be served, and its contract.
        references: photos with the source's answers; each is forgotten once it is compared.
        tolerance: for `precision`.
        precision: of the published graph; causes are sought accordingly.
        on_image: called after every image.
        labels: the source's own names of its classes, held against the contract's.
        reference: who answered for the source, in words for the report.
        name: the model's, in URLs.
        is_random: the source's weights are, and need find nothing.
        ask: answers in the graph's place, where a server is at hand; pixels and outputs are the graph's still.

    Raises:
        BuildError: there are no images, the tolerance lacks what the task needs, or the graph cannot be run at all.
    """
    check_tolerance(published.contract.postprocess, tolerance, precision)
    comparison = Comparison(published, tolerance, precision, None if labels is None else tuple(labels), ask)
    images: list[ImageParity] = []
    sound: list[int] = []
    unsound: list[int] = []
    for place, one in enumerate(references):
        image = comparison(one)
        images.append(image)
        (unsound if image.failures else sound).append(place)
        if len(sound) + len(unsound) > MAX_PICTURES:  # the page shows no more, and they take memory
            least = (sound or unsound).pop()
            images[least] = replace(images[least], pictures=None)
        if on_image is not None:
            on_image(image.name)
    if not images:
        raise BuildError(STEP, "there are no images to compare on; give photos with --photos FOLDER")
    remarks: list[str] = []
    images = _with_best_boxes(images, comparison, is_random, remarks)
    images = _with_agreement(images, tolerance)
    images = _with_network(images, comparison)
    return ParityReport(published.contract, tolerance, precision, reference, tuple(images), name, tuple(remarks))


def _with_best_boxes(
    images: list[ImageParity], comparison: Comparison, is_random: bool, remarks: list[str]
) -> list[ImageParity]:
    """A detector that is sure of nothing, on no image, is held to its best boxes; one without any to nothing at all."""
    if comparison.has_boxes or comparison.contract.task != "detection":
        return images
    best = comparison.best
    if not best:  # every image has failed before its boxes
        return images
    if not any(one.result.source or one.result.published for one in best.values()):
        if is_random:
            remarks.append("neither side finds any box on any image, and the weights are random: none were compared")
            return images
        detail = "neither side finds any box on any image: nothing was compared; give photos with something to find"
        return [failed(images[0], Failure("boxes", f"{detail}: --photos FOLDER", np.inf)), *images[1:]]
    remarks.append(
        f"neither side finds a box above the threshold on any image: the best {MOST_BEST} of each were compared, with "
        "thresholds from the source's own scores, and the tolerance of scores as a part of the best one"
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


def _with_network(images: list[ImageParity], comparison: Comparison) -> list[ImageParity]:
    """The images, the first of them with a failure where the network's own numbers give way.

    Answers do not always show it. ONNX Runtime's CPU provider computes float16 in float32 and leaves out the
    rounding in between, a GPU does not; and an INT8 network may get a few photos right with scales of blank ones.
    """
    side, fed = comparison.side, comparison.fed
    if not fed:
        return images
    found = None
    places, batches = list(fed), list(fed.values())
    if comparison.precision == "fp16" and (node := overflowing_node(side, batches)) is not None:
        places = [place for place, batch in fed.items() if overflowing_node(side, [batch])] or places
        found = f"float16 overflows at node {node!r}: what is beyond 65504 becomes infinite on a device"
    elif comparison.precision == "int8" and (unfit := unfit_calibration(side, batches[:MOST_SCALES])) is not None:
        found = f"{unfit}; {CALIBRATE}"
    if found is not None:
        images[places[0]] = failed(images[places[0]], Failure("outputs", found, np.inf))
    return images
