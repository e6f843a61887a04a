"""The model as it will be served, run here on probe images and held against its contract and its source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from builder.graphs.session import cpu_session
from builder.plausible import require_plausible
from builder.probes import Image, Probe
from vision.contract import ClassifierHead, Contract, Head, MmdetHead, YoloHead
from vision.errors import BackendFailure, BuildError, ContractError, InvalidImage
from vision.geometry import Picture
from vision.heads import classifications_from_outputs, detections_from_outputs
from vision.transforms import Geometry, Preprocessor

STEP = "verify"
Outputs = dict[str, NDArray[np.generic]]
Answer = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32] | None]  # scores, label ids, boxes

FOLD_RTOL, FOLD_ATOL = 1e-4, 1e-3  # px, or score: folding moves float32 operations, it does not change them
BATCH_BOX_PX, BATCH_SCORE = 0.5, 0.01  # a batch may run through other kernels; scores as parts of the best
BATCH_RTOL = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.1}  # of an output's own largest value: rounding steps tip over
BATCH_CLEAR = 0.2  # of the best score: so much is clear


@dataclass(frozen=True, slots=True)
class Side:
    """A graph and the contract that feeds it."""

    model: bytes
    contract: Contract


class Runner:
    """One graph on ONNX Runtime's CPU provider, behind the preprocessing of its contract."""

    def __init__(self, side: Side) -> None:
        """Open the session.

        Raises:
            BuildError: ONNX Runtime cannot run the graph, or the steps of the contract cannot be run in their order.
        """
        try:
            self.session = cpu_session(side.model)
            self.preprocessor = Preprocessor(side.contract)
        except ContractError as exc:
            raise BuildError(STEP, exc.detail) from exc
        except Exception as exc:
            raise BuildError(STEP, f"ONNX Runtime {ort.__version__} cannot load the graph: {exc}") from exc
        self.contract = side.contract

    def __call__(self, images: Sequence[Picture]) -> tuple[Outputs, list[Geometry]]:
        """The outputs the contract names, for images that come out in one size.

        Raises:
            BuildError: the steps make another size than the graph takes, the graph fails, or an output is other
                than the contract says.
            InvalidImage: an image that the steps refuse.
        """
        try:
            batch, geometries = self.preprocessor.batch(images)
        except ContractError as exc:
            raise BuildError(STEP, exc.detail) from exc
        names = [output.name for output in self.contract.outputs]
        try:
            values = self.session.run(names, {self.contract.input.name: batch})
        except Exception as exc:
            raise BuildError(STEP, f"the graph fails on a batch of {list(batch.shape)}: {exc}") from exc
        outputs: Outputs = dict(zip(names, map(np.asarray, values), strict=True))
        self._check(outputs, len(images))
        return outputs, geometries

    def _check(self, outputs: Outputs, batch: int) -> None:
        for expected in self.contract.outputs:
            value = outputs[expected.name]
            fits = len(value.shape) == len(expected.shape) + 1 and all(
                side in (-1, got) for side, got in zip((batch, *expected.shape), value.shape, strict=True)
            )
            if not fits:
                raise BuildError(
                    STEP, f"output {expected.name!r} came as {list(value.shape)}, expected {[batch, *expected.shape]}"
                )


def verify(source: Side, published: Side, probes: Sequence[Probe]) -> list[str]:
    """Run source and published graph on every probe; what was found, one line each.

    Raises:
        BuildError: naming the output, what was expected and what came.
    """
    after = Runner(published)
    is_folded = source.model != published.model
    before = Runner(source) if is_folded else after
    difference = 0.0
    answers: list[tuple[Probe, Answer]] = []
    for probe in probes:
        try:
            outputs, geometries = after([probe.image_bgr])
        except InvalidImage as exc:  # steps may refuse extreme shapes, but not a photo that was given to be served
            if probe.is_photo:
                raise BuildError(STEP, f"{probe.name}: {exc.detail}") from exc
            continue
        if is_folded:
            difference = max(difference, _difference(before([probe.image_bgr])[0], outputs, probe.name))
        answers.append((probe, _answer(published.contract, outputs, geometries)))
    _check_not_empty(published.contract, answers)
    lines = [f"{len(answers)} probes" + (f", folded equals source within {difference:.1e}" if is_folded else "")]
    if published.contract.max_batch > 1:
        _check_batch(after, _richest(answers))
        lines.append("a batch of 2 equals two of 1")
    return lines + [f"{p.name}: {_told(published.contract, answer)}" for p, answer in answers if p.is_photo]


def is_raw(head: Head) -> bool:
    """Whether every value of the outputs has its place; rows of results in the order of their scores have none."""
    return not (isinstance(head, MmdetHead) or (isinstance(head, YoloHead) and head.layout == "v10"))


def _answer(contract: Contract, outputs: Outputs, geometries: list[Geometry]) -> Answer:
    """The one image's answer, every score included, through the head that serving uses."""
    head = contract.postprocess
    try:
        require_plausible(contract, outputs)
        if isinstance(head, ClassifierHead):
            classes = classifications_from_outputs(contract, outputs, top_k=len(contract.labels))[0]
            return classes.scores, classes.label_ids, None
        boxes = detections_from_outputs(contract, outputs, geometries, score_threshold=0.0)[0]
    except BackendFailure as exc:
        raise BuildError(STEP, exc.detail) from exc
    return boxes.scores, boxes.label_ids, boxes.boxes_xyxy


def _check_not_empty(contract: Contract, answers: Sequence[tuple[Probe, Answer]]) -> None:
    if not any((scores > 0).any() for _, (scores, _, _) in answers):
        names = ", ".join(repr(output.name) for output in contract.outputs)
        raise BuildError(
            STEP,
            f"{names} came back empty, or all zero, for {len(answers)} probes; expected at least one score above 0. "
            "Give a photo with something to find: --probe PHOTO; if that stays empty, export the network again",
        )


def _difference(expected: Outputs, came: Outputs, probe: str) -> float:
    largest = 0.0
    for name, value in expected.items():
        if value.shape != came[name].shape:
            raise BuildError(
                STEP, f"{probe}: folded {name!r} is {list(came[name].shape)}, source {list(value.shape)}; use --no-fold"
            )
        gap = np.abs(value.astype(np.float64) - came[name].astype(np.float64))
        if (gap > FOLD_ATOL + FOLD_RTOL * np.abs(value)).any():
            raise BuildError(STEP, f"{probe}: folded {name!r} is off by {gap.max():.3g} from its source; use --no-fold")
        largest = max(largest, float(gap.max(initial=0.0)))
    return largest


def _richest(answers: Sequence[tuple[Probe, Answer]]) -> Image:
    """The probe with the most findings that are clear beside the best of all; of equals the best found."""
    best = max(float(scores.max(initial=0)) for _, (scores, _, _) in answers)

    def findings(answer: Answer) -> tuple[int, float]:
        return int((answer[0] > BATCH_CLEAR * best).sum()), float(answer[0].max(initial=0))

    return max(answers, key=lambda pair: findings(pair[1]))[0].image_bgr


def _check_batch(runner: Runner, image: Image) -> None:
    """Two images at once are answered as each alone: value by value where rows keep their places, else as results."""
    pair = [image, np.ascontiguousarray(255 - image[:, ::-1])]  # as large, and otherwise as different as can be
    outputs, geometries = runner(pair)
    fixed = is_raw(runner.contract.postprocess)
    for index, single in enumerate(pair):
        alone_outputs, alone_geometries = runner([single])
        row = {name: value[index : index + 1] for name, value in outputs.items()}
        if fixed:
            rtol = BATCH_RTOL[runner.contract.provenance.precision]
            equal = all(_is_close(alone_outputs[name], value, rtol) for name, value in row.items())
        else:
            alone = _answer(runner.contract, alone_outputs, alone_geometries)
            together = _answer(runner.contract, row, geometries[index : index + 1])
            equal = _within(alone, together) and _within(together, alone)
        if not equal:
            raise BuildError(
                STEP,
                f"image {index} of a batch of 2 is answered otherwise than alone; import with --max-batch 1, or say"
                " serve.max_batch: 1 in the recipe",
            )


def _is_close(alone: NDArray[np.generic], together: NDArray[np.generic], rtol: float) -> bool:
    expected, came = alone.astype(np.float64), together.astype(np.float64)
    if expected.shape != came.shape:
        return False
    return bool((np.abs(expected - came) <= rtol * np.abs(expected).max(initial=0.0)).all())


def _within(clear: Answer, faint: Answer) -> bool:
    """Every clear result of one answer is in the other; clear is what is beside its own best."""
    scores, ids, boxes = faint
    best = float(clear[0].max(initial=0))
    for position in np.flatnonzero(clear[0] > BATCH_CLEAR * best):
        alike = (ids == clear[1][position]) & (np.abs(scores - clear[0][position]) <= BATCH_SCORE * best)
        if boxes is not None and clear[2] is not None:
            alike &= (np.abs(boxes - clear[2][position]) <= BATCH_BOX_PX).all(axis=1)
        if not alike.any():
            return False
    return True


def _told(contract: Contract, answer: Answer) -> str:
    scores, ids, boxes = answer
    best = f"best {contract.labels[ids[0]]} {scores[0]:.2f}" if len(scores) else "nothing found"
    if boxes is None or isinstance(contract.postprocess, ClassifierHead):
        return best
    threshold = contract.postprocess.score_threshold
    return f"{int((scores > threshold).sum())} boxes over {threshold:g}, {best}"
