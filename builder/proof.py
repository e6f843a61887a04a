"""Whether an engine answers as its ONNX does, on the golden photos: parity, on the device."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.engines.jobs import Feed
from builder.golden import Golden, GoldenPhoto
from builder.parity import boxes
from builder.parity.needed import check_tolerance
from builder.parity.reference import FLOOR, MOST_BOXES
from builder.parity.report import Failure, ImageParity, ParityReport
from builder.parity.results import Outputs, Results, failed
from vision.contract import ClassifierHead, Contract, MmdetHead
from vision.dtypes import DTYPES
from vision.errors import BackendFailure, BuildError
from vision.heads import classifications_from_outputs, detections_from_outputs

STEP = "proof"
REFERENCE = "the ONNX's own outputs, kept when it was built"
TOGETHER = "in a batch"


def feeds_of(golden: Golden, contract: Contract) -> list[Feed]:
    """What the engine is to run: each photo alone, and then as many of one size as it takes at once."""
    name = contract.input.name
    return [
        *({name: photo.tensor[None]} for photo in golden.photos),
        *([{name: np.stack([photo.tensor for photo in batch])}] if (batch := _batch(golden, contract)) else []),
    ]


def proof(golden: Golden, contract: Contract, ran: Sequence[Outputs], model: str | None = None) -> ParityReport:
    """Hold what came of `feeds_of` against the golden outputs, with the rules and tolerances of the builder's gate.

    In the report the source is the ONNX, and the published model the engine.

    Raises:
        BuildError: fewer results than were asked for, or an output that is missing or of another shape.
    """
    check_tolerance(contract.postprocess, golden.tolerance, golden.precision)
    results = Results(contract, golden.tolerance, golden.suppression)
    asked = _asked(golden, contract)
    answers = [_row(contract, ran, feed, row) for _, feed, row in asked]
    images = [_compared(results, place, asked[place][0], answer) for place, answer in enumerate(answers)]
    remarks: list[str] = []
    images = results.together(images, golden.is_random, remarks)
    return ParityReport(contract, golden.tolerance, golden.precision, REFERENCE, tuple(images), model, tuple(remarks))


def _batch(golden: Golden, contract: Contract) -> tuple[GoldenPhoto, ...]:
    """Photos of one size, as many as the engine takes; () where it takes one."""
    alike = [photo for photo in golden.photos if photo.tensor.shape == golden.photos[0].tensor.shape]
    taken = tuple(alike[: contract.max_batch])
    if contract.max_batch > 1 and len(taken) == 1:
        taken *= 2
    return taken if len(taken) > 1 else ()


def _asked(golden: Golden, contract: Contract) -> list[tuple[GoldenPhoto, int, int]]:
    """Each comparison: the photo, which feed answers it, and which row of that."""
    alone = [(photo, feed, 0) for feed, photo in enumerate(golden.photos)]
    batch = _batch(golden, contract)
    return alone + [
        (replace(photo, name=f"{photo.name}, {TOGETHER} of {len(batch)}"), len(golden.photos), row)
        for row, photo in enumerate(batch)
    ]


def _row(contract: Contract, ran: Sequence[Outputs], feed: int, row: int) -> dict[str, NDArray[Any]]:
    """One photo's outputs, a batch of one."""
    if feed >= len(ran):
        raise BuildError(STEP, f"the engine gave {len(ran)} results, expected {feed + 1} or more")
    found = {}
    for output in contract.outputs:
        value = ran[feed].get(output.name)
        if value is None:
            raise BuildError(STEP, f"the engine has no output {output.name!r}; it has {', '.join(sorted(ran[feed]))}")
        shape = value.shape[1:]
        fits = len(shape) == len(output.shape) and all(
            side in (-1, got) for side, got in zip(output.shape, shape, strict=True)
        )
        if not fits or row >= len(value):
            raise BuildError(
                STEP, f"the engine's {output.name!r} came as {list(value.shape)}, expected [batch, {output.shape}]"
            )
        found[output.name] = value[row : row + 1]
    return found


def _compared(results: Results, place: int, photo: GoldenPhoto, ours: Mapping[str, NDArray[Any]]) -> ImageParity:
    contract, head = results.contract, results.contract.postprocess
    found = ImageParity(photo.name, photo_hw=photo.geometry.photo_hw)
    try:
        dtypes = {output.name: DTYPES[output.dtype] for output in contract.outputs}  # an engine's, perhaps: INT32
        theirs = {name: value.astype(dtypes[name])[None] for name, value in photo.outputs.items()}
        found = results.outputs(found, photo.outputs, ours)
        if isinstance(head, ClassifierHead):
            source, published = (
                classifications_from_outputs(contract, side, top_k=len(contract.labels))[0] for side in (theirs, ours)
            )
            probabilities = np.zeros(len(contract.labels), np.float32)
            probabilities[source.label_ids] = source.scores
            return results.classes(found, probabilities, published)
        edge = int(isinstance(head, MmdetHead))
        boxed = [
            boxes.on_photo(
                detections_from_outputs(
                    contract, side, [photo.geometry], score_threshold=FLOOR, max_detections=MOST_BOXES
                )[0],
                photo.geometry.photo_hw,
                edge,
            )
            for side in (theirs, ours)
        ]
        return results.boxes(found, place, boxed[0], boxed[1], head)
    except BackendFailure as exc:  # NaN, labels that are none: what serving refuses as well
        return failed(found, Failure("outputs", exc.detail, np.inf))
