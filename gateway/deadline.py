"""The moment by which a request must be answered."""

import asyncio
from types import TracebackType

from clients import deadline as clients_deadline
from vision.errors import DeadlineExceeded


class Deadline(clients_deadline.Deadline):
    """One moment for every phase of a request, the call to Triton included."""

    def over(self, doing: str) -> "Over":
        """A block that is cancelled at the deadline.

        Raises:
            DeadlineExceeded: saying what was being done, also where a call within the block was given what was left of
                the deadline and says first that it has passed.
        """
        return Over(self, doing)


class Over:
    """The block of `Deadline.over`. A class: what a generator would cost shows at a thousand requests a second."""

    __slots__ = ("_deadline", "_doing", "_timeout")

    def __init__(self, deadline: Deadline, doing: str) -> None:
        self._deadline, self._doing = deadline, doing
        self._timeout = asyncio.timeout(deadline.remaining_s())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as exc:
            raise self._passed() from exc
        if isinstance(error, DeadlineExceeded) and self._deadline.is_over:
            raise self._passed() from error

    def _passed(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the deadline of {self._deadline.allowed_s:.3g} s passed while {self._doing}; send fewer or smaller"
            " photos, or raise GATEWAY_DEADLINE_S, or the caller's own deadline where that is shorter"
        )
