"""Models whose process died, loaded again: Triton itself goes on calling them ready, and fails every request."""

import asyncio
import logging
import time

from clients.triton import TritonClient
from vision.errors import JetserveError

logger = logging.getLogger(__name__)

AGAIN_S = 10.0
"""Between two loads of one model: one that dies at every request must not keep Triton loading."""


class Healer:
    """At most one load of a model at a time, and none sooner than `again_s` after the last began."""

    def __init__(self, triton: TritonClient, *, again_s: float = AGAIN_S) -> None:
        self._triton = triton
        self._again_s = again_s
        self._began_s: dict[str, float] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}

    def load_again(self, name: str) -> None:
        """Have the model loaded again, unless that is happening or happened just now. Nobody waits for it."""
        now_s = time.monotonic()
        if name in self._loads or now_s - self._began_s.get(name, float("-inf")) < self._again_s:
            return
        self._began_s[name] = now_s
        self._loads[name] = asyncio.create_task(self._load(name))

    def stop(self) -> None:
        """Wait for no load any more; Triton finishes those it has begun."""
        for load in self._loads.values():
            load.cancel()

    async def _load(self, name: str) -> None:
        logger.warning("model %s: its process died; Triton is asked to load it again", name)
        try:
            await self._triton.load(name)
        except JetserveError as exc:
            logger.warning("model %s: could not be loaded again: %s", name, exc.detail)
        else:
            logger.warning("model %s: loaded again", name)
        finally:
            del self._loads[name]
