"""One Triton, and all that the gateway keeps for it."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from clients.phases import Phases
from clients.triton.client import Inference, TritonClient
from clients.triton.errors import RETRY_AFTER_S, needs_loading
from gateway.catalogue import Catalogue
from gateway.gone import CallerGone
from gateway.listing import LOOK_TIMEOUT_S
from gateway.preparation import Batch
from gateway.servable import Servable
from gateway.statistics import Statistics
from gateway.tensor_path import TensorPath, Way
from vision.decode import JpegDecoder
from vision.errors import BackendFailure, BackendUnavailable, ModelNotReady, Overloaded, UnknownModel, WireError

SILENCE_S = 2.0
"""How much longer than the last a look may take where there are other replicas: requests need not wait for longer."""
REST_S = 1.0
"""A model that a replica refused, or failed, is asked of others for that long: who refuses at once would otherwise
always have the least in flight, and be chosen by all."""

TRYING = (UnknownModel, ModelNotReady, Overloaded, BackendFailure)
"""After these it rests. Of one that cannot be reached nothing is asked until a look at it has succeeded."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What every replica is given."""

    threads: Executor
    jpeg: JpegDecoder
    refresh_s: float
    shared_memory: bool
    slots: int
    """The most that it may have, where it shares memory."""
    sent: Callable[[str, Way], None]
    """Is told the model and way of every call."""


class Others(Protocol):
    """The replicas beside one."""

    def beside(self, replica: "Replica") -> bool:
        """Whether there are any."""

    def can_serve(self, name: str, replica: "Replica") -> bool:
        """Whether any of them can be asked for that model."""


class Replica:
    """Asks its Triton, and knows whether it may be asked."""

    def __init__(
        self, address: str, equipment: Equipment, others: Others, answered: Callable[[str, str], None]
    ) -> None:
        """`answered` is told this address and the outcome of every attempt."""
        self.address = address
        # Anywhere before the first: gateways that start together must not all turn to the same one.
        self.turn = -random.randrange(1 << 16)  # noqa: S311 - nothing secret
        """The number of the choice that last fell on it."""
        self._in_flight = self._photos = 0
        """Requests that were sent here, or are being prepared for it; and their photos."""
        self._others, self._answered = others, answered
        self.triton = TritonClient(address)
        self.catalogue = Catalogue(
            self.triton,
            refresh_s=equipment.refresh_s,
            jpeg=equipment.jpeg,
            patience_s=self._patience_s,
            heard_s=lambda: self._heard_s,
            fallen_silent=self._fallen_silent,
        )
        self._statistics = Statistics(self.triton)
        self.tensors = TensorPath(
            self.triton,
            equipment.threads,
            limit=equipment.slots,
            sent=equipment.sent,
            statistics=self._statistics,
        )
        if equipment.shared_memory:
            self.tensors.open()
        self._following: list[asyncio.Task[None]] = []
        self._waiting: dict[asyncio.Timeout, str] = {}
        self._rests: dict[str, tuple[Servable, float]] = {}
        self._heard_s = float("-inf")

    @property
    def is_up(self) -> bool:
        """Whether it can be asked, as far as is known."""
        return self.catalogue.away is None

    @property
    def left(self) -> int:
        """Calls that nobody waits for any more, of a Triton that is there: one that is away is given no more work."""
        return self.triton.left if self.catalogue.unavailable is None else 0

    @property
    def requests(self) -> int:
        """Those that are here, and calls that nobody waits for any more."""
        return self._in_flight + self.triton.left

    @property
    def load(self) -> int:
        """What its Triton has to do for this gateway, in photos, as far as that is known here."""
        return self._photos + self.triton.left

    def rests(self, servable: Servable) -> bool:
        """Whether that model failed here just now."""
        resting = self._rests.get(servable.name)
        return resting is not None and resting[0] is servable and time.monotonic() < resting[1]

    def attempt(self, servable: Servable, photos: int) -> "Attempt":
        """A block that is one request's work here, with what its failure means for the next."""
        return Attempt(self, servable, photos)

    def follow(self) -> None:
        """Look at its Triton from now on, until `close`."""
        self._following = [asyncio.create_task(each.follow()) for each in (self.catalogue, self._statistics)]

    async def close(self) -> None:
        """Stop looking, remove what is in shared memory, and hang up."""
        for task in self._following:
            task.cancel()
        await self.tensors.close()
        for task in self._following:
            with suppress(asyncio.CancelledError):
                await task
        await self.triton.close()

    async def infer(self, servable: Servable, batch: Batch, phases: Phases, *, timeout_s: float) -> Inference:
        """As `TensorPath.infer`. It ends early where its Triton falls silent and another replica can answer.

        Raises:
            BackendUnavailable: that, too. The call is left to end by itself, as one whose caller has gone; none is made
                where its Triton was lost while the photos were prepared.
        """
        if not self.is_up and self._others.can_serve(servable.name, self):
            raise BackendUnavailable(f"{self.catalogue.away}", RETRY_AFTER_S[BackendUnavailable])
        answer = self.tensors.infer(servable, batch.array, batch.slot, phases, timeout_s=timeout_s)
        try:
            if self._others.beside(self):
                inference = await self._unless_silent(servable.name, answer)
            else:
                inference = await answer
        except ModelNotReady as exc:
            if needs_loading(exc):
                self.catalogue.load_again(servable.name)
            raise
        self._heard_s = time.monotonic()
        return inference

    async def _unless_silent(self, name: str, answer: Coroutine[None, None, Inference]) -> Inference:
        try:
            async with asyncio.timeout(None) as waiting:
                self._waiting[waiting] = name
                try:
                    return await answer
                finally:
                    self._waiting.pop(waiting, None)
        except TimeoutError as exc:
            if not waiting.expired():
                raise
            raise BackendUnavailable(
                f"Triton at {self.address}, model {name!r}: it has fallen silent; is its machine alive?",
                RETRY_AFTER_S[BackendUnavailable],
            ) from exc

    def begin(self, photos: int) -> None:
        """An attempt begins."""
        self._in_flight += 1
        self._photos += photos

    def end(self, servable: Servable, photos: int, error: BaseException | None) -> None:
        """It has ended."""
        self._in_flight -= 1
        self._photos -= photos
        self._answered(self.address, "ok" if error is None else _outcome(error))
        if isinstance(error, TRYING):
            self._rests[servable.name] = servable, time.monotonic() + REST_S

    def _patience_s(self) -> float:
        """How long it may be silent: no less than always, and short only where requests may wait for it."""
        if self.is_up and self._others.beside(self):
            return min(SILENCE_S + self.catalogue.took_s, LOOK_TIMEOUT_S)
        return LOOK_TIMEOUT_S

    def _fallen_silent(self) -> None:
        """Whoever waits for it, and might ask another, waits no more."""
        now_s = asyncio.get_running_loop().time()
        for waiting, name in list(self._waiting.items()):
            if self._others.can_serve(name, self):
                del self._waiting[waiting]
                waiting.reschedule(now_s)


class Attempt:
    """The block of `Replica.attempt`. A class, as in `gateway.deadline`: a generator would cost more."""

    __slots__ = ("_photos", "_replica", "_servable")

    def __init__(self, replica: Replica, servable: Servable, photos: int) -> None:
        self._replica, self._servable, self._photos = replica, servable, photos

    def __enter__(self) -> None:
        self._replica.begin(self._photos)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replica.end(self._servable, self._photos, error)


def _outcome(error: BaseException) -> str:
    if isinstance(error, WireError):
        return error.kind
    return "caller_gone" if isinstance(error, CallerGone | asyncio.CancelledError) else "internal"
