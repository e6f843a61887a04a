"""One image of the gate: the published model, run from encoded bytes as the gateway runs it, against its source."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.frameworks.job import Answer
from builder.parity import boxes, tensors
from builder.parity.causes import cause_of_difference
from builder.parity.drawn import Result, pictures
from builder.parity.labels import labels_difference
from builder.parity.precision_causes import unfit_scale
from builder.parity.reference import FLOOR, MOST_BOXES, Reference
from builder.parity.report import STEP, Failure, ImageParity
from builder.parity.results import Outputs, Results, excess, failed
from builder.parity.suppression import suppression_of
from builder.recipes.parts import Precision, Tolerance
from builder.recipes.photos import MAX_PIXELS
from builder.verify import Runner, Side
from vision.contract import ClassifierHead, MmdetHead
from vision.decode import image_from_bytes
from vision.errors import BackendFailure, BuildError, ContractError, InvalidImage, RequestError
from vision.geometry import Geometry
from vision.heads import Classification, Detections, classifications_from_outputs, detections_from_outputs

MOST_MEASURED = 32
"""Images on which a low-precision network's inner values are looked at."""
MOST_SCALES = 8
"""Failed images of an INT8 network for which the scale that fits worst is sought."""

Ask = Callable[[bytes], Detections | Classification]
"""Who answers for the published model, from a photo's encoded bytes: a running server."""


class Comparison:
    """Compares image by image; what is for all of them together it keeps until the last."""

    def __init__(
        self,
        published: Side,
        tolerance: Tolerance,
        precision: Precision,
        labels: tuple[str, ...] | None,
        ask: Ask | None = None,
    ) -> None:
        self.side, self.tolerance, self.precision, self.labels = published, tolerance, precision, labels
        self.ask = ask
        self.contract = published.contract
        self.runner = Runner(published)
        self.results = Results(published.contract, tolerance, suppression_of(published))
        self.fed: dict[int, NDArray[Any]] = {}
        """What the graph was given for the first images, by their place, where the precision is not the source's."""
        self.place = -1
        self.scales_looked_at = 0

    def __call__(self, one: Reference) -> ImageParity:
        """The next image."""
        self.place += 1
        found = ImageParity(one.name)
        try:
            image = image_from_bytes(one.data, max_pixels=MAX_PIXELS)
        except RequestError as exc:
            return failed(found, Failure("decode", f"the server refuses the photo: {exc.detail}", np.inf))
        found = replace(found, photo_hw=image.shape[:2], tensor_hw=one.answer.tensor.shape[1:])
        try:
            network_input, geometry = self.runner.preprocessor(image)
        except (InvalidImage, ContractError) as exc:
            return failed(found, Failure("preprocess", f"the published steps refuse the photo: {exc.detail}", np.inf))
        tensor = tensors.tensor_from_input(self.contract, network_input)
        found, gap = self._pixels(found, one, image, tensor)
        found = self._labels(found, one.answer)
        ours: Result = None
        theirs: Result = None
        try:
            outputs = self.runner([image])[0]
            if self.precision != "fp32" and len(self.fed) < MOST_MEASURED:
                self.fed[self.place] = network_input[None]
            found = self.results.outputs(found, one.answer.outputs, outputs)
            found, ours, theirs = self._results(found, one, outputs, geometry)
        except (BackendFailure, BuildError) as exc:
            found = failed(found, Failure("outputs", exc.detail, np.inf))
        found = self._with_cause(found, network_input)
        return replace(found, pictures=pictures(self.contract, image, theirs, ours, gap))

    def _pixels(
        self, found: ImageParity, one: Reference, image: NDArray[np.uint8], tensor: tensors.Tensor
    ) -> tuple[ImageParity, tensors.Map | None]:
        source, limit = one.answer.tensor, self.tolerance.pixels
        if tensor.shape != source.shape:
            (h, w), (height, width) = tensor.shape[1:], source.shape[1:]
            cause = cause_of_difference(self.contract, image, one.data, source, limit)
            detail = f"the source feeds {width}x{height} (width x height), the published model {w}x{h}"
            return failed(found, Failure("preprocess", detail, np.inf, cause)), None
        gap = tensors.difference(source, tensor, tensors.std_of(self.contract))
        largest = float(gap.max())
        found = replace(found, pixels=largest, mean_pixels=float(gap.mean()))
        if largest > limit:
            cause = cause_of_difference(self.contract, image, one.data, source, limit)
            detail = f"pixels differ by up to {largest:.4g} of 255, mean {gap.mean():.3g}, tolerance {limit:g}"
            found = failed(found, Failure("preprocess", detail, excess(largest, limit), cause))
        return found, gap

    def _labels(self, found: ImageParity, answer: Answer) -> ImageParity:
        detail = labels_difference(self.contract.labels, answer, self.labels)
        if detail is None:
            return found
        return failed(found, Failure("labels", f"{detail}: a class was dropped, added or moved", np.inf))

    def _results(
        self, found: ImageParity, one: Reference, outputs: Outputs, geometry: Geometry
    ) -> tuple[ImageParity, Result, Result]:
        """What the two sides answer in the end: the published and the source's."""
        head, answer = self.contract.postprocess, one.answer
        asked = None if self.ask is None else self.ask(one.data)
        if isinstance(head, ClassifierHead):
            classified = (
                asked
                if isinstance(asked, Classification)
                else classifications_from_outputs(self.contract, outputs, top_k=len(self.contract.labels))[0]
            )
            if answer.probabilities is None:
                raise BuildError(STEP, f"the source answers {found.name} without probabilities: this is a classifier")
            if len(answer.probabilities) != len(self.contract.labels):  # a failure of the labels already
                return found, classified, None
            order = np.argsort(-answer.probabilities, kind="stable")
            theirs = Classification(answer.probabilities[order], order.astype(np.int64))
            return self.results.classes(found, answer.probabilities, classified), classified, theirs
        boxed = (
            asked
            if isinstance(asked, Detections)
            else detections_from_outputs(
                self.contract, outputs, [geometry], score_threshold=FLOOR, max_detections=MOST_BOXES
            )[0]
        )
        if answer.boxes_xyxy is None or answer.scores is None or answer.label_ids is None:
            raise BuildError(STEP, f"the source answers {found.name} without boxes, and this is a detector")
        source = Detections(answer.boxes_xyxy, answer.scores, answer.label_ids)
        edge = int(isinstance(head, MmdetHead))
        source, boxed = (boxes.on_photo(side, geometry.photo_hw, edge) for side in (source, boxed))
        return self.results.boxes(found, self.place, source, boxed, head), boxed, source

    def _with_cause(self, found: ImageParity, network_input: NDArray[Any]) -> ImageParity:
        """Failures behind sound pixels come from the network: name the node where its precision gives way."""
        later = [failure for failure in found.failures if failure.stage in ("outputs", "boxes", "classes")]
        if not later or len(later) < len(found.failures) or self.precision != "int8":
            return found
        if self.scales_looked_at == MOST_SCALES:  # a further image would tell the same, and takes its time
            return found
        self.scales_looked_at += 1
        cause = unfit_scale(self.side, network_input[None])
        failures = tuple(replace(failure, hint=failure.hint or cause) for failure in found.failures)
        return replace(found, failures=failures)
