"""How tensors reach Triton and come back: through shared memory where that works, else in the messages themselves."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from clients.phases import Phases
from clients.triton.client import Inference, TritonClient
from clients.triton.errors import region_is_lost
from clients.triton.regions import layout_from_contract
from gateway.deadline import Deadline
from gateway.preparation import images_per_call
from gateway.retired import Retired
from gateway.segments import Owner, swept
from gateway.servable import Servable
from gateway.slots import IDLE_S, Slot, Slots
from gateway.statistics import Statistics
from gateway.threads import in_threads
from vision.contract import Contract
from vision.errors import BackendFailure, DeadlineExceeded

logger = logging.getLogger(__name__)

Way = Literal["shared_memory", "grpc"]

SAFE_SINCE = (2, 50)
"""The first Triton that counts who uses a region; one before it crashes when it is told to forget one in use
(https://github.com/triton-inference-server/server/pull/7567)."""

RETRY_S = 30.0
"""After Triton could not map shared memory it is not asked to for that long, and the log is spared what it has said."""

REGISTER_S, PROMPT_S = 1.0, 0.1
"""The longest that a request waits for Triton to map a slot, at most half of its time; and how long is no trouble."""


class TensorPath:
    """Asks Triton. Slots are held from before photos are decoded until results have been read."""

    def __init__(
        self,
        triton: TritonClient,
        threads: Executor,
        *,
        limit: int,
        sent: Callable[[str, Way], None],
        statistics: Statistics,
    ) -> None:
        """Without slots until `open`; `limit` bounds them, `sent` is told the model and way of every call, and
        `statistics` what its call took.
        """
        self._triton = triton
        self._threads = threads
        self._limit = limit
        self._sent = sent
        self._statistics = statistics
        self._retired = Retired(triton)
        self._slots: Slots | None = None
        self._safe = False
        self._off_until_s = 0.0
        self._told_s: dict[str, float] = {}
        self._looked = False
        self._pruning: asyncio.TimerHandle | None = None

    @property
    def slots(self) -> int:
        """How many there are, idle ones too."""
        return self._slots.count if self._slots else 0

    @property
    def retired(self) -> int:
        """How many pieces of shared memory Triton has yet to let go of."""
        return len(self._retired)

    @property
    def slot_bytes(self) -> int:
        return self._slots.nbytes if self._slots else 0

    def open(self) -> None:
        """Use shared memory from now on, once what killed gateways left has been swept."""
        try:
            stale = swept()
            self._slots = Slots(Owner.here(), self._limit, self._retired.add)
        except OSError as exc:
            self._tell(f"there is no shared memory to be had: {exc}")
            return
        if stale:
            logger.warning("removed %d pieces of shared memory of gateways that were killed", len(stale))
        for name in stale:
            self._retired.add(name)

    async def close(self) -> None:
        """Remove the slots, and have Triton forget them."""
        if self._pruning is not None:
            self._pruning.cancel()
        slots, self._slots = self._slots, None
        await self._retired.close(slots.close() if slots else ())

    @asynccontextmanager
    async def slots_for(self, contract: Contract, photos: int, deadline: Deadline) -> AsyncIterator[list[Slot]]:
        """Slots for the length of the block, one for each call that `photos` take; none where they go by gRPC.

        Raises:
            DeadlineExceeded: the threads that make slots are at work on other photos.
        """
        taken: list[Slot] = []
        try:
            async with deadline.over("a place for photos was made"):
                if not await self._take(contract, photos, taken):
                    self._give_back(taken)
            yield taken
        finally:
            self._give_back(taken)

    async def infer(
        self, servable: Servable, batch: NDArray[Any], slot: Slot | None, phases: Phases, *, timeout_s: float
    ) -> Inference:
        """Run `batch`; in a `slot` where it lies in one. Its outputs may lie there, too: read them before it is given
        back.

        The time goes to the phases slot (having Triton map it), serialise, queue, compute, transport, deserialise.

        Raises:
            As `TritonClient.infer` does.
        """
        called = servable.name, servable.version
        before, until_s = self._statistics.seen(called), time.monotonic() + timeout_s
        inference = await self._inferred(servable, batch, slot, phases, until_s)
        await self._statistics.divide(called, before, phases, until_s)
        return inference

    async def _inferred(
        self, servable: Servable, batch: NDArray[Any], slot: Slot | None, phases: Phases, until_s: float
    ) -> Inference:
        ask = partial(self._triton.infer, servable.name, servable.version, servable.contract, batch, phases=phases)
        layout = None if slot is None else layout_from_contract(servable.contract, len(batch))
        for _ in range(2):
            was_registered = slot is None or slot.registered
            if slot is None or layout is None or not await self._registered(slot, until_s - time.monotonic()):
                break
            if not was_registered:
                phases.mark("slot")
            left_s = until_s - time.monotonic()
            slot.at_triton = left_s > 0  # else nothing is sent
            try:
                if slot.at_triton:
                    self._sent(servable.name, "shared_memory")
                inference = await ask(timeout_s=left_s, region=slot.region(layout))
            except BackendFailure as exc:
                if not region_is_lost(exc):
                    raise
                slot.at_triton = slot.registered = self._safe = False
                continue
            slot.at_triton = False
            self._works()
            return inference
        self._sent(servable.name, "grpc")
        return await ask(timeout_s=until_s - time.monotonic())

    async def _take(self, contract: Contract, photos: int, taken: list[Slot]) -> bool:
        """Add to `taken` all that are needed, each as soon as it is there; False where they cannot be had."""
        slots = self._slots
        if slots is None or self._is_off():
            return False
        if len(self._retired) >= self._limit:
            self._tell(f"Triton has not let go of {len(self._retired)} pieces of shared memory yet")
            return False
        calls = images_per_call(photos, contract.max_batch)
        if len(calls) > self._limit:
            self._tell(f"a request of {len(calls)} calls takes more than the {self._limit} slots there may be")
            return False
        for images in calls:
            layout = layout_from_contract(contract, rounded(images, contract.max_batch))
            if layout is None:
                return False
            while (slot := slots.take(layout.nbytes)) is None:
                if not slots.has_room():
                    self._tell(f"all {self._limit} slots are taken")
                    return False
                try:
                    await in_threads(self._threads, [partial(slots.grow, layout.nbytes)])
                except OSError as exc:
                    self._tell(str(exc.strerror or exc))
                    return False
            taken.append(slot)
        return True

    def _give_back(self, taken: list[Slot]) -> None:
        if self._slots is not None:
            self._slots.give_back(taken)
            if self._pruning is None:
                self._prune_in(IDLE_S)
        taken.clear()

    def _prune_in(self, seconds: float) -> None:
        self._pruning = asyncio.get_running_loop().call_later(seconds, self._prune)

    def _prune(self) -> None:
        self._pruning = None
        if self._slots is not None and (seconds := self._slots.prune()) is not None:
            self._prune_in(seconds)

    async def _registered(self, slot: Slot, left_s: float) -> bool:
        """Whether Triton can use the slot, which it is told of where it was not, in at most half of `left_s`."""
        if slot.registered or self._is_off():
            return slot.registered
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(min(REGISTER_S, left_s / 2)):
                await self._register(slot)
        except (BackendFailure, DeadlineExceeded) as exc:
            slot.refused = True
            self._turn_off(exc.detail)
            return False
        except (TimeoutError, asyncio.CancelledError) as exc:
            slot.refused = True
            if time.monotonic() - began_s > PROMPT_S:  # one who has no time left does not turn it off for all
                self._turn_off("Triton does not answer when it is asked to map shared memory")
            if isinstance(exc, asyncio.CancelledError):
                raise
            return False
        slot.registered = True
        if not self._looked:
            self._looked = True
            self._retired.look()
        return True

    async def _register(self, slot: Slot) -> None:
        if not self._safe:
            version = await self._triton.version()
            if version[:2] < SAFE_SINCE:
                raise BackendFailure(
                    f"Triton {'.'.join(map(str, version))} cannot tell when it has done with shared memory;"
                    f" {'.'.join(map(str, SAFE_SINCE))} can"
                )
            self._safe = True
        slot.offered = True
        await self._triton.register_region(slot.segment.name, slot.capacity)

    def _is_off(self) -> bool:
        return time.monotonic() < self._off_until_s

    def _turn_off(self, why: str) -> None:
        self._off_until_s = time.monotonic() + RETRY_S
        self._tell(why)

    def _tell(self, why: str) -> None:
        """Once for each reason, whatever the numbers in it, until shared memory works again."""
        reason = re.sub(r"\d+", "", why)
        if reason not in self._told_s:
            logger.warning("tensors go to Triton at %s by gRPC: %s", self._triton.address, why)
            self._told_s[reason] = time.monotonic()

    def _works(self) -> None:
        """Start to tell again. Not at once: under load every other request may find no slot."""
        if self._told_s and max(self._told_s.values()) < time.monotonic() - RETRY_S:
            logger.warning("tensors go to Triton at %s through shared memory now", self._triton.address)
            self._told_s.clear()


def rounded(images: int, max_batch: int) -> int:
    """The next power of two, at most `max_batch`: few sizes of slots serve all requests."""
    return min(max_batch, 1 << (images - 1).bit_length())
