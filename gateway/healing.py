"""Models whose process died, loaded again: Triton itself goes on calling them ready, and fails every request."""

import asyncio
import logging
import time

from clients.triton.client import TritonClient
from vision.errors import JetserveError

logger = logging.getLogger(__name__)

AGAIN_S = 10.0
"""Between two loads of one model: one that dies at every request must not keep Triton loading."""

IN_VAIN = 3
"""A model that is found dead again before so many times `AGAIN_S` have passed was not helped by its load."""


class Healer:
    """At most one load of a model at a time, and none sooner than `again_s` after the last began.

    Triton does nothing when it is to load a model whose files have not changed since it was last loaded after an
    unload (seen with 2.51). So a load that was in vain is followed by one with an unload before it.
    """

    def __init__(self, triton: TritonClient, *, again_s: float = AGAIN_S) -> None:
        self._triton = triton
        self._again_s = again_s
        self._began_s: dict[str, float] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._unloaded: dict[str, bool] = {}
        """Whether the last load was one with an unload before it."""

    def load_again(self, name: str) -> None:
        """Have the model loaded again, unless that is happening or happened just now. Nobody waits for it."""
        now_s = time.monotonic()
        since_s = now_s - self._began_s.get(name, float("-inf"))
        if name in self._loads or since_s < self._again_s:
            return
        self._began_s[name] = now_s
        self._unloaded[name] = since_s < IN_VAIN * self._again_s and not self._unloaded[name]
        self._loads[name] = asyncio.create_task(self._load(name, self._unloaded[name]))

    def stop(self) -> None:
        """Wait for no load any more; Triton finishes those it has begun."""
        for load in self._loads.values():
            load.cancel()

    async def _load(self, name: str, unload: bool) -> None:
        before = ", and to unload it before, for its last load did not help" if unload else ""
        logger.warning("model %s: its process died; Triton is asked to load it again%s", name, before)
        try:
            if unload:
                await self._triton.unload(name)
            await self._triton.load(name)
        except JetserveError as exc:
            logger.warning("model %s: could not be loaded again: %s", name, exc.detail)
        else:
            logger.warning("model %s: loaded again", name)
        finally:
            del self._loads[name]
