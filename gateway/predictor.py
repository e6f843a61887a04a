"""Photos in, what is on them out: the core that every transport stands on. It knows nothing of HTTP."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from clients.options import Options
from clients.phases import Phases
from clients.triton import Inference
from clients.triton_errors import needs_loading
from gateway.catalogue import Catalogue, Servable
from gateway.deadline import Deadline
from gateway.phases import in_thread
from gateway.photo import Photo
from gateway.pictures import picture_from_finding
from gateway.preparation import Batch, prepared_batches
from gateway.tensor_path import TensorPath
from vision.contract import ClassifierHead, Contract, MmdetHead
from vision.decode import image_from_bytes
from vision.errors import BackendFailure, BackendUnavailable, ContractError, ModelNotReady, UnknownModel
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

    def __init__(self, tensors: TensorPath, catalogue: Catalogue, threads: Executor, *, max_pixels: int) -> None:
        self._tensors = tensors
        self._catalogue = catalogue
        self._threads = threads
        self._max_pixels = max_pixels

    async def predict(
        self,
        model: str,
        photos: Sequence[Photo],
        options: Options,
        deadline: Deadline,
        phases: Phases,
    ) -> Prediction:
        """Predict on every photo. What came before goes to the phase receive, and the time this takes to phases from
        slot to postprocess.

        Raises:
            vision.errors.WireError: any but those of transports and credentials.
        """
        servable = await self._catalogue.servable_by(deadline, model)
        phases.mark("receive")
        try:
            return await self._with(servable, photos, options, deadline, phases)
        except (UnknownModel, ModelNotReady, BackendUnavailable):
            # Unloaded, another version published, or Triton gone, since the last look.
            async with deadline.over("the model was looked up"):
                await self._catalogue.refresh()
                now = await self._catalogue.servable(model)
            if now is servable:
                raise
            phases.mark("lookup")
            return await self._with(now, photos, options, deadline, phases)

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
        servable: Servable,
        photos: Sequence[Photo],
        options: Options,
        deadline: Deadline,
        phases: Phases,
    ) -> Prediction:
        options.check(servable.contract)
        found: list[Detections | Classification] = []
        async with self._tensors.slots_for(servable.contract, len(photos), deadline) as slots:
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
                found += await self._found(batch, servable, options, deadline, phases)
        prepared = [photo for batch in batches for photo in batch.photos]
        findings = [
            Finding(photo.name, ready.geometry.photo_hw, what)
            for photo, ready, what in zip(photos, prepared, found, strict=True)
        ]
        return Prediction(servable.name, servable.version, servable.contract, findings)

    async def _found(
        self, batch: Batch, servable: Servable, options: Options, deadline: Deadline, phases: Phases
    ) -> Sequence[Detections | Classification]:
        contract = servable.contract
        async with deadline.over("the model was at work"):
            # The version too: its outputs are read with its contract, whatever is published meanwhile.
            inference = await self._inferred(batch, servable, deadline, phases)
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

    async def _inferred(self, batch: Batch, servable: Servable, deadline: Deadline, phases: Phases) -> Inference:
        try:
            return await self._tensors.infer(
                servable, batch.array, batch.slot, phases, timeout_s=deadline.remaining_s()
            )
        except ModelNotReady as exc:
            if needs_loading(exc):
                self._catalogue.load_again(servable.name)
            raise
