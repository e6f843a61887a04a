"""A source's frames through one gateway, over as many connections as it takes."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from clients.hiding import Hider
from clients.photos import frame_bytes, name_of
from clients.stream.answers import Answer, answer_from_message
from clients.stream.connection import WITHOUT_HEADERS, Connection
from clients.stream.order import Order
from clients.stream.patience import OnTrouble, Patience, logged
from clients.stream.reader import Frame, Reader
from clients.stream.results import Mode, StreamResult
from clients.stream.sources import Awaited, Source, source_from
from clients.stream.websockets_errors import translated
from clients.wire import stream_request
from vision.errors import BackendFailure, CapacityError, DeadlineExceeded

IN_FLIGHT: Mapping[Mode, int] = {"every": 2, "latest": 4}
"""Frames without an answer. Every: one in work and one on its way. Latest: that newer ones take the place of the one
that waits at the gateway, while a slow network does not fill with old ones."""
MAX_ANSWER_BYTES = 16 * 2**20
CLOSE_S = 1.0
"""What the other side has to agree that the stream has ended."""
PING_S = 20.0


@dataclass(slots=True, eq=False)
class _Sent:
    """A frame without an answer."""

    frame: Frame
    since_s: float
    data: bytes = b""
    number: int = 0
    """On the connection it was last sent over; 0 before that."""


class Stream:
    """Results in the order of the frames. For one event loop."""

    def __init__(self, order: Order, mode: Mode, reader: Reader, tell: OnTrouble, *, trust_env: bool) -> None:
        """`trust_env`: whether a proxy of the environment stands between here and the gateway."""
        self._base_url = order.base_url
        request = stream_request(order.model, mode, order.options)
        self._uri = f"ws{order.base_url.removeprefix('http')}{request.path}?{urlencode(request.parameters)}"
        self._proxy: Literal[True] | None = True if trust_env else None
        self._headers = order.headers
        self._hide = Hider(order.headers)
        self._mode = mode
        self._reader = reader
        self._timeout_s = order.timeout_s
        self._jpeg_quality = order.jpeg_quality
        # The first connection is as any request, of which nothing is told either; those after it are of a stream that
        # was well.
        self._patience = Patience(order.timeout_s, _untold, retries=order.retries)
        self._later = Patience(order.reconnect_s, tell)
        self._unanswered: deque[_Sent] = deque()
        self._room = asyncio.Event()
        self._last = 0  # the newest frame that was answered
        self._failed: Exception | None = None  # why there are no more frames, if it is not that the source ended

    async def results(self) -> AsyncGenerator[StreamResult]:
        """One for each frame that is answered.

        Raises:
            vision.errors.WireError: the stream cannot begin, or not go on.
        """
        while True:
            try:
                async with aclosing(self._over_one_connection()) as results:
                    async for result in results:
                        yield result
                break
            except (CapacityError, DeadlineExceeded) as exc:
                asked_s = exc.retry_after_s if isinstance(exc, CapacityError) else 0.0
                pause_s = self._patience.pause_s(exc, asked_s)
            await asyncio.sleep(pause_s)
        if self._failed is not None:
            raise self._failed

    async def _over_one_connection(self) -> AsyncGenerator[StreamResult]:
        connection = await self._connected()
        self._patience = self._later
        sending = asyncio.create_task(self._send(connection))
        try:
            while (answer := await self._answer(connection, sending)) is not None:
                yield self._result(answer)
            await connection.close()
        finally:
            sending.cancel()
            connection.transport.abort()
            await asyncio.gather(sending, connection.wait_closed(), return_exceptions=True)

    async def _connected(self) -> ClientConnection:
        allowed_s = min(self._timeout_s, self._patience.remaining_s())
        try:
            with translated(self._base_url, allowed_s, self._hide):
                return await connect(
                    self._uri,
                    additional_headers=self._headers,
                    create_connection=Connection,
                    logger=WITHOUT_HEADERS if self._headers else None,
                    compression=None,  # photos are compressed already
                    proxy=self._proxy,
                    open_timeout=allowed_s,
                    close_timeout=CLOSE_S,
                    # A pong comes behind frames that the gateway has not read yet, so that it may take two answers.
                    ping_interval=PING_S,
                    ping_timeout=max(PING_S, 2 * self._timeout_s),
                    max_size=MAX_ANSWER_BYTES,
                )
        except DeadlineExceeded:
            if self._patience.failed is None or allowed_s == self._timeout_s:
                raise
            raise self._patience.failed from None  # that there was hardly any time left is no reason

    async def _send(self, connection: ClientConnection) -> None:
        """Every frame until there are no more, those first that an earlier connection owes an answer."""
        self._forget_what_is_old()
        try:
            owed = tuple(self._unanswered)  # it shrinks as they are answered
            for number, sent in enumerate(owed, 1):
                await self._send_one(connection, sent, number)
            number = len(owed)
            while self._failed is None and (frame := await self._next()) is not None:
                # Before anything is waited for: what breaks from here on, it is sent again.
                self._unanswered.append(_Sent(frame, time.monotonic()))
                del frame
                number += 1
                await self._send_one(connection, self._unanswered[-1], number)
        except ConnectionClosed:
            pass  # whoever waits for answers sees it too
        except Exception as exc:  # noqa: BLE001 - raised when those before it are answered
            self._failed = exc

    async def _next(self) -> Frame | None:
        while len(self._unanswered) >= IN_FLIGHT[self._mode]:
            self._room.clear()
            await self._room.wait()
        return await self._reader.next()

    async def _send_one(self, connection: ClientConnection, sent: _Sent, number: int) -> None:
        sent.number = number
        if not sent.data:
            try:
                sent.data = await asyncio.to_thread(frame_bytes, sent.frame.image, self._jpeg_quality)
            except Exception:
                self._unanswered.remove(sent)  # it never will be
                raise
        await connection.send(sent.data)

    def _forget_what_is_old(self) -> None:
        """Frames that a connection took with it: of a camera only the last is sent again, and only if none is newer."""
        while self._mode == "latest" and len(self._unanswered) > (0 if self._reader.waits else 1):
            self._unanswered.popleft()
        for sent in self._unanswered:
            sent.number = 0

    async def _answer(self, connection: ClientConnection, sending: "asyncio.Task[None]") -> Answer | None:
        """The next; None when all is sent and answered."""
        listening_s = time.monotonic()
        receiving = asyncio.ensure_future(connection.recv())
        try:
            while True:
                if sending.done() and not self._unanswered:
                    return None
                due_s = self._due_s(listening_s)
                with translated(self._base_url, self._timeout_s, self._hide):
                    if due_s <= 0:
                        raise TimeoutError
                    waited_for = {receiving} if sending.done() else {receiving, sending}
                    await asyncio.wait(waited_for, timeout=due_s, return_when=asyncio.FIRST_COMPLETED)
                    if receiving.done():
                        return answer_from_message(receiving.result(), self._hide)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    def _due_s(self, listening_s: float) -> float:
        """How long the gateway still has: its time for a frame begins when the one before it is answered."""
        if not self._unanswered:
            return self._timeout_s
        return max(self._unanswered[0].since_s, listening_s) + self._timeout_s - time.monotonic()

    def _result(self, answer: Answer) -> StreamResult:
        if self._mode == "every" and isinstance(answer.error, CapacityError):
            raise answer.error  # nothing is wrong with the frame: it is sent again
        while self._unanswered and self._unanswered[0].number < answer.number:
            self._unanswered.popleft()
        if not self._unanswered or self._unanswered[0].number != answer.number:
            raise BackendFailure(
                f"the gateway answered frame {answer.number} of the stream, which it was not sent; is this a jetserve"
                " gateway of about this client's version?"
            )
        sent = self._unanswered.popleft()
        self._room.set()
        self._patience.all_well()
        frame, result = sent.frame, answer.result
        dropped, self._last = frame.number - self._last - 1, frame.number
        if result is not None and result.name is None and (name := name_of(frame.image)) is not None:
            result = result.model_copy(update={"name": name})
        return StreamResult(frame.number, result, answer.error, dropped, frame.image)


def _untold(message: str) -> None:
    """What comes of it is raised."""


async def streamed(order: Order, *, trust_env: bool) -> AsyncGenerator[StreamResult]:
    """See `AsyncGatewayClient.stream`."""
    if isinstance(order.source, AsyncIterable):
        source: Source = Awaited(order.source, asyncio.get_running_loop())
    else:
        source = await asyncio.to_thread(source_from, order.source, order.timeout_s)
    mode = order.frames or ("latest" if source.live else "every")
    tell = order.on_trouble or logged
    reader = Reader(source, mode, order.reconnect_s, tell)
    try:
        stream = Stream(order, mode, reader, tell, trust_env=trust_env)
        async with aclosing(stream.results()) as results:
            async for result in results:
                yield result
    finally:
        await reader.close()
        await source.aclose()
