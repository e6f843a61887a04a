"""What the synchronous clients do that cannot be had from the asynchronous ones word for word, by the same names."""

import asyncio
import atexit
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, ParamSpec, TypeAlias, TypeVar
from weakref import WeakSet

from clients import io_async
from clients.deadline import Deadline
from clients.headers import Headers
from clients.loop_thread import LoopThread
from clients.photos import Photo
from clients.stream.order import Order
from clients.stream.results import StreamResult
from clients.stream.sources import Given
from clients.wire import Reply, Request

P = ParamSpec("P")
T = TypeVar("T")
Photos: TypeAlias = Iterable[Photo]
Frames: TypeAlias = Given

sleep = time.sleep


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In the caller's own: it has nothing else to do."""
    return function(*args, **kwargs)


class HttpClient:
    """Connections to one gateway, kept open between requests; for any number of threads.

    Blocking sockets know no deadline for a whole reply, only for its next byte, and none for looking up a name. So an
    event loop in a thread does the waiting.
    """

    def __init__(self, base_url: str, headers: Headers) -> None:
        self._http = io_async.HttpClient(base_url, headers)
        self._loop = LoopThread("jetserve-client")

    def exchange(self, request: Request, deadline: Deadline) -> Reply:
        """The whole reply, by the deadline.

        Raises:
            BackendUnavailable: nobody listens there, or the connection broke.
            DeadlineExceeded: the reply was not there in time.
            InvalidArgument: what is no address.
        """
        return self._loop.run(self._http.exchange(request, deadline))

    def close(self) -> None:
        self._loop.close(self._http.close)


def in_order(call: Callable[[Photo], T], photos: Photos, concurrency: int) -> Generator[T]:
    """The result of each photo, in order; no more than `concurrency` photos are held, or under way, at once."""
    under_way: deque[Future[T]] = deque()
    threads = ThreadPoolExecutor(concurrency, "jetserve-predict")
    try:
        for photo in photos:
            under_way.append(threads.submit(call, photo))
            if len(under_way) >= concurrency:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        # What is under way ends by its deadline, or when the client is closed: nobody is kept waiting for it.
        threads.shutdown(wait=False, cancel_futures=True)


def streamed(order: Order) -> Generator[StreamResult]:
    """See `GatewayClient.stream`. An event loop in a thread reads, sends and waits; the caller takes what is there."""
    results = _streamed(order)
    _OPEN.add(results)
    return results


_OPEN: WeakSet[Generator[StreamResult]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """While their threads still run: Python closes what is left over when there are none, and would wait for ever."""
    for results in tuple(_OPEN):
        with suppress(ValueError):  # another thread waits for its next result
            results.close()


def _streamed(order: Order) -> Generator[StreamResult]:
    loop, steps = LoopThread("jetserve-stream"), _Steps(io_async.streamed(order))
    try:
        while (result := loop.run(steps.next())) is not None:
            yield result
    finally:
        loop.close(steps.close)


class _Steps(Generic[T]):
    """An asynchronous generator, a step at a time. A step that its caller gave up is ended before the generator is."""

    def __init__(self, results: AsyncGenerator[T]) -> None:
        self._results = results
        self._step: asyncio.Task[T | None] | None = None

    async def next(self) -> T | None:
        """None after the last."""
        self._step = asyncio.create_task(self._next())
        return await self._step

    async def close(self) -> None:
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
        await self._results.aclose()

    async def _next(self) -> T | None:
        return await anext(self._results, None)
