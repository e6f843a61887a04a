"""Straight to Triton, without a gateway: what the gateway does with a photo is done here, by the same parts."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import NDArray

from clients.addresses import DEFAULT_TRITON
from clients.deadline import Deadline
from clients.echo import quoted
from clients.findings import plain_photo_result
from clients.loop_thread import LoopThread
from clients.options import Options, options_from_values
from clients.phases import Phases
from clients.photos import MAX_PIXELS, Photo, encoded_photo, image_from_photo, name_of
from clients.results import Result
from clients.triton.client import TritonClient
from vision.contract import Contract
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    ContractError,
    DeadlineExceeded,
    ModelNotReady,
    UnknownModel,
    WireError,
)
from vision.geometry import Geometry, Picture
from vision.heads import found_from_outputs
from vision.transforms import Preprocessor

LOOK_AGAIN_S = 5.0
"""After so long a model is looked up again: another version may have been published."""
THREADS = min(4, os.cpu_count() or 1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Servable:
    name: str
    version: str
    contract: Contract
    preprocessor: Preprocessor
    seen_s: float


class AsyncDirectClient:
    """One connection to one Triton, for one event loop; pixels are worked on in threads. Close it in the end.

    Answers are those of a gateway before the same Triton, but for `timings_ms`. Nothing is retried, and nothing stands
    between the model's queue and whoever asks: permits, limits on bytes and reloading of models are the gateway's.

    Every method raises `vision.errors`:
        BackendUnavailable: Triton cannot be reached.
        DeadlineExceeded: no answer within `timeout_s`.
    """

    def __init__(self, address: str = DEFAULT_TRITON, timeout_s: float = 30.0) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._triton = TritonClient(address)
        self._threads = ThreadPoolExecutor(THREADS, "jetserve-pixels")
        self._servables: dict[str, _Servable] = {}
        self._looking = asyncio.Lock()

    async def predict(
        self,
        photo: Photo,
        model: str,
        *,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> Result:
        """What is on a photo. What is None, the model's contract decides.

        Args:
            photo: a path, encoded bytes, pixels uint8 [h, w, 3] BGR or [h, w] grey, or a picture of Pillow's.
            model: its name.
            score_threshold: kept are scores above it, 0 to 1.
            top_k: how many classes, of a classifier.
            max_detections: how many objects, of a detector.

        Raises:
            OSError: the file cannot be read.
            InvalidArgument, InvalidImage, UnsupportedMediaType, TooLarge: the photo, or an option, is at fault.
            UnknownModel, ModelNotReady, Overloaded, BackendFailure: what Triton says of the model.
        """
        options = options_from_values(
            {"score_threshold": score_threshold, "top_k": top_k, "max_detections": max_detections}
        )
        deadline = Deadline(self.timeout_s)
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._predicted(photo, model, options, deadline)
        except (TimeoutError, DeadlineExceeded, BackendUnavailable) as exc:
            if isinstance(exc, WireError) and not deadline.is_over:
                raise
            raise DeadlineExceeded(
                f"no answer from Triton at {self.address} within {self.timeout_s:g} s; is it busy?"
            ) from exc

    async def close(self) -> None:
        """Threads that are at work end with their photo."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._triton.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _predicted(self, photo: Photo, model: str, options: Options, deadline: Deadline) -> Result:
        servable = await self._servable(model)
        try:
            return await self._with(servable, photo, options, deadline)
        except (UnknownModel, ModelNotReady):  # another version was published since
            now = await self._looked_up(model)
            if (now.version, now.contract) == (servable.version, servable.contract):
                raise
            return await self._with(now, photo, options, deadline)

    async def _with(self, servable: _Servable, photo: Photo, options: Options, deadline: Deadline) -> Result:
        contract, phases = servable.contract, Phases()
        options.check(contract)
        batch, geometry = await self._in_thread(partial(_batch, servable, photo, phases))
        inference = await self._triton.infer(
            servable.name, servable.version, contract, batch, timeout_s=deadline.remaining_s(), phases=phases
        )
        find = partial(
            found_from_outputs,
            contract,
            inference.outputs,
            [geometry],
            score_threshold=options.score_threshold,
            top_k=options.top_k,
            max_detections=options.max_detections,
        )
        with phases.of("postprocess"):
            [found] = await self._in_thread(find)
        answer: dict[str, object] = {
            "model": servable.name,
            "version": servable.version,
            "timings_ms": phases.milliseconds(),
        }
        return Result.model_validate(
            answer | plain_photo_result(name_of(photo), geometry.photo_hw, found, contract.labels)
        )

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    async def _servable(self, name: str) -> _Servable:
        async with self._looking:  # one look is enough for all who wait
            known = self._servables.get(name)
            if known is not None and time.monotonic() - known.seen_s < LOOK_AGAIN_S:
                return known
            return await self._looked_up(name)

    async def _looked_up(self, name: str) -> _Servable:
        try:
            models = {model.name: model for model in await self._triton.models()}
        except WireError:  # one broken entry of the repository, say, which is none of this model's business
            if (known := self._servables.get(name)) is None:
                raise
            self._servables[name] = replace(known, seen_s=time.monotonic())
            return self._servables[name]
        self._servables = {known: servable for known, servable in self._servables.items() if known in models}
        if name not in models:
            names = ", ".join(models) or "none: import one with `python -m builder import` and load it"
            raise UnknownModel(f"there is no model {quoted(name)}; the models are: {names}")
        model = models[name]
        if not model.ready or model.contract is None:
            raise ModelNotReady(f"model {name!r} is not ready: {model.problem or 'it is loading; ask again'}")
        known = self._servables.get(name)
        if known is not None and (known.version, known.contract) == (model.version, model.contract):
            preprocessor = known.preprocessor
        else:
            preprocessor = _preprocessor(name, model.contract)
        self._servables[name] = _Servable(name, model.version, model.contract, preprocessor, time.monotonic())
        return self._servables[name]


class DirectClient:
    """The same for callers without an event loop: one runs in a thread of its own. For any number of threads."""

    def __init__(self, address: str = DEFAULT_TRITON, timeout_s: float = 30.0) -> None:
        self.address = address
        self._client = AsyncDirectClient(address, timeout_s)
        self._loop = LoopThread("jetserve-direct")

    def predict(
        self,
        photo: Photo,
        model: str,
        *,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> Result:
        """What is on a photo; arguments, result and errors as of `AsyncDirectClient.predict`."""
        return self._loop.run(
            self._client.predict(
                photo, model, score_threshold=score_threshold, top_k=top_k, max_detections=max_detections
            )
        )

    def close(self) -> None:
        self._loop.close(self._client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _preprocessor(name: str, contract: Contract) -> Preprocessor:
    try:
        return Preprocessor(contract)
    except ContractError as exc:
        raise ModelNotReady(f"model {name!r} is not ready: {exc.detail}") from exc


def _picture(servable: _Servable, photo: Photo) -> Picture:
    """What is encoded is decoded as the contract says; pixels are taken as they come."""
    if isinstance(photo, str | Path | bytes):
        return servable.preprocessor.decoded(encoded_photo(photo).content, max_pixels=MAX_PIXELS)
    return image_from_photo(photo)


def _batch(servable: _Servable, photo: Photo, phases: Phases) -> tuple[NDArray[Any], Geometry]:
    """[1, ...] in the contract's input dtype and layout."""
    with phases.of("decode"):
        picture = _picture(servable, photo)
    with phases.of("preprocess"):
        try:
            batch, [geometry] = servable.preprocessor.batch([picture])
        except ContractError as exc:
            raise BackendFailure(f"model {servable.name!r}: {exc.detail}") from exc
    return batch, geometry
