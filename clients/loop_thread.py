"""An event loop in a thread of its own, for callers without one."""

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for any thread and hands their results back. The thread starts with the first of them.

    What ends the wait, Ctrl-C above all, ends the work too.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises.

        Raises:
            RuntimeError: this is closed, before or meanwhile, or in use by the process that this one was forked from.
        """
        try:
            with self._lock:  # until it is on the loop: `close` then finds it there, or this finds it closed
                future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        except RuntimeError:
            coroutine.close()
            raise
        try:
            return future.result()
        except CancelledError as exc:
            raise RuntimeError("this client was closed while it was at work") from exc
        except BaseException:
            future.cancel()
            raise

    def close(self, finish: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what still runs, run `finish`, and end the thread; nothing where nothing ever ran."""
        with self._lock:
            loop, thread, self._closed = self._loop, self._thread, True
            self._loop = self._thread = None
        if loop is not None and thread is not None and self._process == os.getpid():
            try:
                asyncio.run_coroutine_threadsafe(_finished(finish), loop).result()
            finally:
                loop.call_soon_threadsafe(loop.stop)
                thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise RuntimeError("this client is closed: make another")
        if self._loop is None:
            self._loop, self._process = asyncio.new_event_loop(), os.getpid()
            # A daemon: a client that nobody closed does not keep the program from ending.
            self._thread = threading.Thread(target=_served, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        elif self._process != os.getpid():
            raise RuntimeError("this client was used before the process was forked: make another in each process")
        return self._loop


async def _finished(finish: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # What is cancelled before it begins is right for us, but anyio's tasks then never await what they were given.
    while any(map(_is_to_begin, others := asyncio.all_tasks() - {asyncio.current_task()})):  # noqa: ASYNC110 - for no event
        await asyncio.sleep(0)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await finish()


def _is_to_begin(task: "asyncio.Task[Any]") -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


def _served(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
