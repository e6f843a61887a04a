"""uvicorn's HTTP/1.1 on httptools, with two things that a server in the open needs."""

import asyncio
import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
"""What a connection has to send the head of a request, the first or the next."""
UPGRADE = re.compile(rb"(?im)^upgrade(?=[ \t]*:(?![ \t]*websocket[ \t]*\r?$))")
"""The name of a header that offers another protocol than the one that is spoken here."""


class Protocol(HttpToolsProtocol):
    """Ignores upgrades to all but WebSocket, and hangs up on who connects and asks nothing.

    `curl --http2` and Java's HttpClient offer `Upgrade: h2c` with a request, which a server may ignore (RFC 9110 7.8).
    The parser takes such a head for the whole message and loses the body, so the header is renamed before it looks.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(without_upgrade(data) if self._in_head else data)

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel_timer()
        super().on_headers_complete()

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

    def _no_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def without_upgrade(data: bytes) -> bytes:
    """What begins with the head of a request, with an `Upgrade` to anything but WebSocket renamed in it."""
    end = data.find(b"\r\n\r\n")
    end = len(data) if end < 0 else end
    if UPGRADE.search(data, 0, end) is None:
        return data
    return UPGRADE.sub(b"x-not-taken", data[:end]) + data[end:]
