"""uvicorn's HTTP/1.1 on httptools, with what a server in the open needs beside."""

import asyncio
import re

import uvicorn.server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
"""What a connection has to send the head of a request, the first or the next."""
HEAD_BYTES = 64 * 1024
"""A head that has more, and is not at its end, is refused: the parser would keep all of it."""
UPGRADE = re.compile(rb"(?im)^upgrade(?=[ \t]*:)")
"""The name of a header that offers another protocol."""
UPGRADE_ELSEWHERE = re.compile(rb"(?im)^upgrade(?=[ \t]*:(?![ \t]*websocket[ \t]*\r?$))")
"""The same, where the protocol is none that is spoken here."""


CLOSE = (b"connection", b"close")


class ServerState(uvicorn.server.ServerState):
    """uvicorn's, and whether the server is about to end."""

    draining = False


class Protocol(HttpToolsProtocol):
    """Ignores upgrades to all but WebSocket, and hangs up on who connects and asks nothing, or asks without an end.

    `curl --http2` and Java's HttpClient offer `Upgrade: h2c` with a request, which a server may ignore (RFC 9110 7.8).
    The parser takes such a head for the whole message and loses the body, so the header is renamed before it looks.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _is_get = True
    """Of the request whose head arrives: a WebSocket begins with no other method."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)
        # uvicorn leaves this timer running where the connection broke off, and it holds the request.
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if not self._in_head:
            super().data_received(data)
            return
        if self._head_bytes == 0:
            self._is_get = data.startswith(b"GET ")
        self._head_bytes += len(data)
        super().data_received(without_upgrade(data, UPGRADE_ELSEWHERE if self._is_get else UPGRADE))
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._cancel_timer()
        super().on_headers_complete()
        if getattr(self.server_state, "draining", False) and self.cycle is not None:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE]

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._cancel_timer()
        self._head_timer = self.loop.call_later(HEAD_S, self._no_head)

    def _cancel_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_head(self) -> None:
        said = f"the head of a request may have {HEAD_BYTES} bytes; send fewer or shorter headers".encode()
        lines = (
            b"HTTP/1.1 431 Request Header Fields Too Large",
            b"content-type: text/plain; charset=utf-8",
            b"content-length: %d" % len(said),
            b"connection: close",
        )
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + said)
        self.transport.close()

    def _no_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def without_upgrade(data: bytes, which: re.Pattern[bytes]) -> bytes:
    """What begins with the head of a request, or with more of it, with the `Upgrade` headers that fit renamed in it."""
    end = data.find(b"\r\n\r\n")
    end = len(data) if end < 0 else end
    if which.search(data, 0, end) is None:
        return data
    return which.sub(b"x-not-taken", data[:end]) + data[end:]
