"""Work in threads that never outlives whoever asked for it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")


async def in_threads(threads: Executor, jobs: Sequence[Callable[[], T]]) -> list[T]:
    """The results, in order.

    When a job fails or the caller is cancelled, jobs that wait for a thread never start, and those that have started
    are waited for: a thread cannot be stopped, and what it holds must not be given to others as if it were free.
    """
    futures = [threads.submit(job) for job in jobs]
    try:
        if len(futures) == 1:
            return [await asyncio.wrap_future(futures[0])]
        return await asyncio.gather(*map(asyncio.wrap_future, futures))
    finally:
        if running := [future for future in futures if not (future.cancel() or future.done())]:
            await _ended(running)
        # An error's traceback holds this frame, and a future the error: a cycle that would keep the photos alive.
        del futures, jobs, running


async def _ended(futures: Sequence[Future[T]]) -> None:
    """Wait until all have ended, however often this is cancelled meanwhile."""
    waiting = asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
    cancelled: asyncio.CancelledError | None = None
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        raise cancelled
