"""What the asynchronous clients do that has no word-for-word synchronous form; `io_sync` has the same names."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from itertools import islice
from typing import Self, TypeAlias, TypeVar

import httpx

from clients.deadline import Deadline
from clients.headers import Headers
from clients.hiding import Hider
from clients.httpx_errors import translated
from clients.photos import Photo
from clients.stream.order import Order
from clients.stream.results import StreamResult
from clients.stream.sources import Given
from clients.wire import Reply, Request
from vision.errors import InvalidArgument

T = TypeVar("T")
Photos: TypeAlias = Iterable[Photo] | AsyncIterable[Photo]
Frames: TypeAlias = Given | AsyncIterable[Photo]

sleep = asyncio.sleep
in_thread = asyncio.to_thread

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
"""As many connections as requests under way, and all of them kept: who asks decides how many, and the gateway."""


class HttpClient:
    """Connections to one gateway, kept open between requests; for one event loop."""

    def __init__(self, base_url: str, headers: Headers) -> None:
        """`headers` as `clients.headers.sendable` gives them. No redirect is followed, with them or without.

        Raises:
            InvalidArgument: what is no address, or says by itself who asks where a header does.
        """
        self._base_url = base_url
        self._hide = Hider(headers)
        with translated(base_url, 0):
            url = httpx.URL(base_url)
            # A proxy of the environment is for other machines, whether or not no_proxy names this one.
            elsewhere = not _is_loopback(url.host)
            self._http = httpx.AsyncClient(
                base_url=url,
                headers=headers,
                timeout=None,  # noqa: S113 - kept below: httpx starts its own time anew with every byte that arrives
                trust_env=elsewhere,
                limits=LIMITS,
            )
        if url.userinfo and "authorization" in map(str.lower, headers):
            raise InvalidArgument(
                "the gateway's address has a name and password, and headers an Authorization; give one of them"
            )

    async def exchange(self, request: Request, deadline: Deadline) -> Reply:
        """The whole reply, by the deadline.

        Raises:
            BackendUnavailable: nobody listens there, or the connection broke.
            DeadlineExceeded: the reply was not there in time.
            InvalidArgument: what is no address.
        """
        with translated(self._base_url, deadline.allowed_s, self._hide):
            if (remaining_s := deadline.remaining_s()) <= 0:
                raise TimeoutError
            async with asyncio.timeout(remaining_s):
                response = await self._http.request(
                    request.method,
                    request.path,
                    headers=dict(request.headers),
                    params=dict(request.parameters),
                    content=request.content,
                )
        return Reply(response.status_code, response.headers, response.content, self._hide)

    async def close(self) -> None:
        await self._http.aclose()


async def in_order(call: Callable[[Photo], Awaitable[T]], photos: Photos, concurrency: int) -> AsyncGenerator[T]:
    """The result of each photo, in order; no more than `concurrency` photos are held, or under way, at once."""
    under_way: deque[asyncio.Task[T]] = deque()
    try:
        async for photo in photos if isinstance(photos, AsyncIterable) else _Each(photos):
            under_way.append(asyncio.ensure_future(call(photo)))
            if len(under_way) >= concurrency:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


class _Each:
    """An iterable as an asynchronous one; unlike a generator, it need not be closed.

    Its photos are taken in a thread, one at a time: a generator may well read them.
    """

    def __init__(self, photos: Iterable[Photo]) -> None:
        self._photos = iter(photos)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Photo:
        for photo in await in_thread(list, islice(self._photos, 1)):
            return photo
        raise StopAsyncIteration


def streamed(order: Order) -> AsyncGenerator[StreamResult]:
    """See `AsyncGatewayClient.stream`."""
    from clients.stream.stream import streamed  # its library is not needed for photos

    return streamed(order, trust_env=not _is_loopback(httpx.URL(order.base_url).host))


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):  # a name
        return host == "localhost" or ip_address(host).is_loopback
    return False
