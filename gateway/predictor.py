"""Photos in, what is on them out: the core that every transport stands on. It knows nothing of HTTP."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from clients.options import Options
from clients.phases import Phases
from gateway.deadline import Deadline
from gateway.phases import in_thread
from gateway.photo import Photo
from gateway.pictures import picture_from_finding
from gateway.preparation import Batch, prepared_batches
from gateway.replicas import TRIED_AGAIN, Choice, Replicas
from vision.contract import ClassifierHead, Contract, MmdetHead
from vision.decode import image_from_bytes
from vision.errors import BackendFailure, ContractError
from vision.heads import Classification, Detections, found_from_outputs


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found on one photo."""

    name: str | None
    photo_hw: tuple[int, int]
    """Pixels, upright as the EXIF orientation says."""
    found: Detections | Classification


@dataclass(frozen=True, slots=True)
class Prediction:
    """One finding a photo, in the order they came."""

    model: str
    version: str
    contract: Contract
    findings: Sequence[Finding]


class Predictor:
    """Decodes and preprocesses in threads, asks Triton, postprocesses."""

    def __init__(self, replicas: Replicas, threads: Executor, *, max_pixels: int) -> None:
        self._replicas = replicas
        self._threads = threads
        self._max_pixels = max_pixels

    async def predict(
        self,
        model: str,
        photos: Sequence[Photo],
        options: Options,
        deadline: Deadline,
        phases: Phases,
        version: str = "",
    ) -> Prediction:
        """Predict on every photo, with that version of the model; "" is any. What came before goes to the phase
        receive, and the time this takes to phases from slot to postprocess.

        Raises:
            vision.errors.WireError: any but those of transports and credentials.
        """
        choice = await self._replicas.chosen_by(deadline, model, version)
        phases.mark("receive")
        try:
            return await self._with(choice, photos, options, deadline, phases)
        except TRIED_AGAIN as exc:
            # Unloaded, another version published, full, or Triton gone, since the last look. Once: the second may fail.
            other = await self._replicas.instead_of(choice, exc, version, deadline)
            if other is None:
                raise
            phases.mark("lookup")
            return await self._with(other, photos, options, deadline, phases)

    async def picture(
        self, photo: Photo, prediction: Prediction, media_type: str, deadline: Deadline, phases: Phases
    ) -> bytes:
        """The first photo of the request with what was found drawn on it, encoded."""

        def draw() -> bytes:
            # Decoded again: kept from before, every permit could hold a photo's pixels while the network is at work.
            image_bgr = image_from_bytes(photo.data, max_pixels=self._max_pixels)
            return picture_from_finding(image_bgr, prediction.findings[0].found, prediction.contract, media_type)

        async with deadline.over("the picture was drawn"):
            return await in_thread(self._threads, draw, "draw", phases)

    async def _with(
        self,
        choice: Choice,
        photos: Sequence[Photo],
        options: Options,
        deadline: Deadline,
        phases: Phases,
    ) -> Prediction:
        replica, servable = choice
        options.check(servable.contract)
        found: list[Detections | Classification] = []
        with replica.attempt(servable, len(photos)):
            async with replica.tensors.slots_for(servable.contract, len(photos), deadline) as slots:
                phases.mark("slot")
                try:
                    async with deadline.over("photos were decoded"):
                        batches = await prepared_batches(
                            photos, servable, phases, self._threads, max_pixels=self._max_pixels, slots=slots
                        )
                except ContractError as exc:
                    raise BackendFailure(f"model {servable.name!r}: {exc.detail}") from exc
                # One after the other: a request of many photos holds one place in Triton's queue, like any other.
                for batch in batches:
                    found += await self._found(batch, choice, options, deadline, phases)
        prepared = [photo for batch in batches for photo in batch.photos]
        findings = [
            Finding(photo.name, ready.geometry.photo_hw, what)
            for photo, ready, what in zip(photos, prepared, found, strict=True)
        ]
        return Prediction(servable.name, servable.version, servable.contract, findings)

    async def _found(
        self, batch: Batch, choice: Choice, options: Options, deadline: Deadline, phases: Phases
    ) -> Sequence[Detections | Classification]:
        replica, servable = choice
        contract = servable.contract
        async with deadline.over("the model was at work"):
            # The version too: its outputs are read with its contract, whatever is published meanwhile.
            inference = await replica.infer(servable, batch, phases, timeout_s=deadline.remaining_s())
        find = partial(
            found_from_outputs,
            contract,
            inference.outputs,
            [photo.geometry for photo in batch.photos],
            score_threshold=options.score_threshold,
            top_k=options.top_k,
            max_detections=options.max_detections,
        )
        if isinstance(contract.postprocess, ClassifierHead | MmdetHead):
            found = find()
            phases.mark("postprocess")
            return found
        # Suppressing thousands of raw predictions would hold up the event loop for everybody.
        return await in_thread(self._threads, find, "postprocess", phases)
