"""Shared memory that is not used any more and that Triton still has mapped, until it has let go."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from clients.triton.client import TritonClient
from gateway.segments import abandoned
from vision.errors import BackendUnavailable, WireError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
CLOSE_S = 1.0


class Retired:
    """Names that Triton is asked to forget, again and again where a model that is at work still uses them."""

    def __init__(self, triton: TritonClient) -> None:
        self._triton = triton
        self._names: dict[str, None] = {}
        self._looking = False
        self._working: asyncio.Task[None] | None = None
        self._added = asyncio.Event()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str) -> None:
        self._names[name] = None
        self._work()

    def look(self) -> None:
        """Add what gateways that are no more have left with this Triton. It must have this machine's shared memory."""
        self._looking = True
        self._work()

    async def close(self, more: Iterable[str]) -> None:
        """Have Triton forget these and `more`, within `CLOSE_S`; what is in use for longer the next gateway finds."""
        if (working := self._working) is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        self._names.update(dict.fromkeys(more))
        with suppress(TimeoutError, BackendUnavailable):
            async with asyncio.timeout(CLOSE_S):
                while self._names:
                    await self._forget()
                    if self._names:
                        await asyncio.sleep(FIRST_PAUSE_S)

    def _work(self) -> None:
        self._added.set()
        if self._working is None:
            self._working = asyncio.create_task(self._forget_all())

    async def _forget_all(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while self._names or self._looking:
                self._added.clear()
                before = len(self._names)
                with suppress(BackendUnavailable):
                    await self._look()
                    await self._forget()
                if self._names or self._looking:
                    if self._added.is_set() or len(self._names) < before:
                        pause_s = FIRST_PAUSE_S
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._added.wait(), pause_s)
                    pause_s = FIRST_PAUSE_S if self._added.is_set() else min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._working = None

    async def _look(self) -> None:
        if not self._looking:
            return
        try:
            self._names.update(dict.fromkeys(abandoned(await self._triton.regions())))
        except BackendUnavailable:
            raise
        except WireError as exc:
            logger.debug("Triton does not tell what shared memory it has: %s", exc.detail)
        self._looking = False

    async def _forget(self) -> None:
        """Ask once for each.

        Raises:
            BackendUnavailable: Triton is away.
        """
        for name in list(self._names):
            try:
                await self._triton.unregister_region(name)
            except BackendUnavailable:
                raise
            except WireError as exc:
                logger.debug("Triton keeps %s for now: %s", name, exc.detail)
            else:
                del self._names[name]
