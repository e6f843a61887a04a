"""Whether anybody still waits for the answer."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import Request

from gateway.gone import CallerGone

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, whose body must have been read; cancelled when the caller hangs up.

    Raises:
        CallerGone: the caller hung up first.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGone
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        # The permit is given back after this, so nothing may outlive it: threads that have started end first.
        await asyncio.gather(working, gone, return_exceptions=True)
        # An error's traceback holds this frame, and the task the error: a cycle that would keep the photos alive.
        del working, gone, work


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
