"""The moment by which a request must be answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clients import deadline as clients_deadline
from vision.errors import DeadlineExceeded


class Deadline(clients_deadline.Deadline):
    """One moment for every phase of a request, the call to Triton included."""

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
                f"the deadline of {self.allowed_s:.3g} s passed while {doing}; send fewer or smaller photos,"
                " or raise GATEWAY_DEADLINE_S, or the caller's own deadline where that is shorter"
            ) from exc
