"""Whether anybody still waits for the answer."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import Request

T = TypeVar("T")


class CallerGone(Exception):  # noqa: N818 - it happens, and is nobody's error
    """The caller hung up: no answer can be given, and no work is worth doing."""


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
        # Nothing outlives the request: its permit is given back after this.
        await asyncio.gather(working, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
