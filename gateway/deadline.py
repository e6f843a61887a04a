"""The moment by which a request must be answered."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vision.errors import DeadlineExceeded


class Deadline:
    """One moment for every phase of a request, the call to Triton included."""

    def __init__(self, allowed_s: float) -> None:
        self.allowed_s = allowed_s
        self._at_s = time.monotonic() + allowed_s

    def remaining_s(self) -> float:
        """Never negative."""
        return max(0.0, self._at_s - time.monotonic())

    @asynccontextmanager
    async def over(self, doing: str) -> AsyncIterator[None]:
        """Cancel the block at the deadline.

        Raises:
            DeadlineExceeded: saying what was being done.
        """
        try:
            async with asyncio.timeout(self.remaining_s()):
                yield
        except TimeoutError as exc:
            raise DeadlineExceeded(
                f"the deadline of {self.allowed_s:g} s passed while {doing};"
                " send fewer or smaller photos, or raise GATEWAY_DEADLINE_S"
            ) from exc
