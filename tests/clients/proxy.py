"""A proxy between a client and a server, on TCP, that can be told to misbehave."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.ports import free_ports

Mode = Literal["pass", "refuse", "swallow", "cut", "drip", "busy"]
CHUNK = 65536
CUT_AFTER_BYTES = 40
DRIP_S = 0.05


class Proxy:
    """Listens on `port` and hands on what comes, both ways; set `mode` at any time, also in mid-connection.

    pass: hand on; refuse: nobody listens, and connections there were are broken; swallow: accept, and drop every byte;
    cut: break a connection in the middle of the next answer; drip: hand answers on a byte at a time, for ever slowly;
    busy: answer every HTTP request with 503, `Retry-After: retry_after` and a body that is not jetserve's.
    """

    def __init__(self, portal: BlockingPortal, server_port: int) -> None:
        self._portal = portal
        self._server_port = server_port
        self._mode: Mode = "pass"
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        [self.port] = free_ports(1)  # one that nobody gets while it refuses
        self.connections = 0
        """Accepted so far."""
        self.retry_after = "1"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._portal.call(self._change, mode)

    def break_connections(self) -> None:
        """Break those there are, as a cable would; new ones go as `mode` says."""
        self._portal.call(self._break_connections)

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._break_connections()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _change(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "refuse":
            await self.stop()
        elif self._listener is None:
            await self.start()

    async def _break_connections(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            with suppress(OSError):
                to_server, from_us = await asyncio.open_connection("127.0.0.1", self._server_port)
                self._open.add(from_us)
                await asyncio.gather(self._requests(reader, writer, from_us), self._answers(to_server, writer))
                await _closed(from_us)
                self._open.discard(from_us)
        finally:
            self._tasks.discard(task)
            await _closed(writer)
            self._open.discard(writer)

    async def _requests(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._mode == "busy":
                    back.write(self._busy())
                    break
                if self._mode != "swallow":
                    writer.write(data)
                    await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                while self._mode == "drip" and data:
                    writer.write(data[:1])
                    await writer.drain()
                    data = data[1:]
                    await asyncio.sleep(DRIP_S)
                if self._mode == "cut":
                    writer.write(data[:CUT_AFTER_BYTES])
                    break
                if self._mode != "swallow":
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def _busy(self) -> bytes:
        body = "<html>busy</html>"
        lines = ("HTTP/1.1 503 Busy", f"Retry-After: {self.retry_after}", f"Content-Length: {len(body)}")
        return "\r\n".join((*lines, "Connection: close", "", body)).encode()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@contextmanager
def running_proxy(server_port: int) -> Iterator[Proxy]:
    """A proxy before the server on that port of this machine, in a thread, on a free port that it keeps."""
    with start_blocking_portal() as portal:
        proxy = Proxy(portal, server_port)
        portal.call(proxy.start)
        try:
            yield proxy
        finally:
            portal.call(proxy.stop)
