"""How long requests lay in Triton's queue, and how long its model worked on them, as Triton itself has counted it.

Triton counts for every backend, but only sums: of all requests to a version of a model, whoever sent them. So what one
request took is the mean of those since the last look; or, where it was the only one since then, its own.
"""

import asyncio
import logging
import time

from clients.phases import Phases
from clients.triton.client import TritonClient
from clients.triton.counters import Counters
from vision.errors import WireError

logger = logging.getLogger(__name__)

Version = tuple[str, str]
"""A model's name and version."""

Shares = tuple[tuple[str, float], ...]
"""Phases and seconds."""

NOTHING = Counters(0, 0.0, 0.0)

LOOK_S = 1.0
"""Between two looks, at the least."""
AT_ONCE_S = 0.05
"""From the first request after a while to the look: Triton counts a request after it has answered it."""
EXACT_S = 0.25
"""The longest that a request waits to be told what it took."""
ASKED_AGAIN_S = 0.002
"""Until it asks again, where Triton had not counted it yet."""


class Statistics:
    """Divides calls to Triton into phases. Its failures are nobody's: a call is then left as it is."""

    def __init__(self, triton: TritonClient) -> None:
        self._triton = triton
        self._seen: dict[Version, Counters] = {}
        self._mean_s: dict[Version, Shares] = {}
        self._called: set[Version] = set()
        self._traffic = asyncio.Event()

    async def follow(self) -> None:
        """Look at what is called, again and again; never while nothing is."""
        while True:
            await self._traffic.wait()
            await asyncio.sleep(AT_ONCE_S)
            self._traffic.clear()
            called, self._called = self._called, set()
            for version in called:
                await self._look(version, LOOK_S)
            await asyncio.sleep(LOOK_S - AT_ONCE_S)

    def seen(self, called: Version) -> Counters:
        """What was counted at the last look."""
        return self._seen.get(called, NOTHING)

    async def divide(self, called: Version, before: Counters, phases: Phases, until_s: float) -> None:
        """Give of a call that has succeeded, the last `transport`, its shares to the phases queue and compute.

        `before` is what was `seen` before the call. Where `phases.exact` is not None, Triton is asked first, in time
        that is in no phase and not in the total, and half of what is left until `until_s` (`time.monotonic`) at most.
        """
        if phases.exact is not None:
            mean_s = await self._exactly(called, before, phases, until_s)
        else:
            mean_s = self._mean_s.get(called)
            self._called.add(called)
            self._traffic.set()
        if mean_s is not None:
            phases.divide("transport", mean_s)

    async def _exactly(self, called: Version, before: Counters, phases: Phases, until_s: float) -> Shares | None:
        """What was counted since `before`: that call alone, unless others asked, too."""
        now_s = time.monotonic()
        until_s = min(now_s + EXACT_S, (now_s + until_s) / 2)
        news = NOTHING
        while not news.requests and (left_s := until_s - time.monotonic()) > 0:
            await self._look(called, left_s)
            news = self.seen(called).since(before)
            if not news.requests:
                await asyncio.sleep(ASKED_AGAIN_S)
        phases.skip()
        phases.exact = phases.exact and news.requests == 1
        return _shares(news) if news.requests else self._mean_s.get(called)

    async def _look(self, called: Version, timeout_s: float) -> None:
        try:
            now = await self._triton.counters(*called, timeout_s)
        except WireError as exc:
            logger.debug("Triton's statistics of model %s: %s", called[0], exc.detail)
            return
        news = now.since(self.seen(called))
        self._seen[called] = now
        if news.requests:
            self._mean_s[called] = _shares(news)


def _shares(counted: Counters) -> Shares:
    return ("queue", counted.queue_s / counted.requests), ("compute", counted.compute_s / counted.requests)
