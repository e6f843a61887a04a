"""Calls that are never cancelled: who does not wait any more leaves them to end by themselves.

A cancelled call costs more than it saves. Triton from 23.10 up to 25.03 may crash when a request is cancelled at the
moment its model is done with it (https://github.com/triton-inference-server/server/issues/8034), a deadline that
passes at Triton included; and gRPC's asyncio keeps some memory of each for ever (https://github.com/grpc/grpc/issues/43360).
"""

import asyncio
from typing import Any


class CutOff(Exception):  # noqa: N818 - it happens, and who asked for it knows
    """The channel was closed on this side, which ends its calls: no cancellation of who waits for them."""


class Unhurried:
    """Waits for calls of gRPC's asyncio, and holds those that nobody waits for until they have ended."""

    def __init__(self) -> None:
        self._left: set[Any] = set()

    def __len__(self) -> int:
        """How many have not ended and nobody waits for."""
        return len(self._left)

    async def answer(self, call: Any) -> Any:
        """What `await call` gives or raises. When this is cancelled, the call is not.

        Raises:
            CutOff
        """
        ended = asyncio.Event()
        call.add_done_callback(lambda _: ended.set())
        try:
            await ended.wait()
        except asyncio.CancelledError:
            if not call.done():
                self._left.add(call)  # gRPC cancels a call that it finds nobody has any more
                call.add_done_callback(self._left.discard)
            raise
        try:
            return await call
        except asyncio.CancelledError as exc:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise CutOff("the call was cut off") from exc
