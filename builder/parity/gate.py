"""The gate: every image compared, and then what only all of them together can tell."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from builder.parity.comparison import MOST_SCALES, Ask, Comparison
from builder.parity.needed import check_tolerance
from builder.parity.page import MAX_PICTURES
from builder.parity.precision_causes import CALIBRATE, overflowing_node, unfit_calibration
from builder.parity.reference import Reference
from builder.parity.report import STEP, Failure, ImageParity, ParityReport
from builder.parity.results import failed
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
    images = comparison.results.together(images, is_random, remarks)
    images = _with_network(images, comparison)
    return ParityReport(published.contract, tolerance, precision, reference, tuple(images), name, tuple(remarks))


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
