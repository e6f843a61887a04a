"""Whether anybody still waits for the answer."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import Request

from gateway.gone import CallerGone

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, whose body must have been read; cancelled when the caller hangs up.

    It ends when `work` has: the permit is given back after it, and threads that have started end first.

    Raises:
        CallerGone: the caller hung up first.
    """
    working = asyncio.current_task()
    assert working is not None  # noqa: S101 - for mypy: a coroutine is run by a task
    watching = asyncio.create_task(_cancel_when_gone(request, working))
    try:
        return await work
    except asyncio.CancelledError as exc:
        if not watching.done() or watching.cancelled() or working.uncancel() > 0:
            raise
        raise CallerGone from exc
    finally:
        watching.cancel()
        # An error's traceback holds this frame, and the task the error: a cycle that would keep the photos alive.
        del watching, working, work


async def _cancel_when_gone(request: Request, working: "asyncio.Task[object]") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    working.cancel()
