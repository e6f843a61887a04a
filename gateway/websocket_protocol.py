"""uvicorn's WebSocket on the `websockets` library, with the bounds that a server in the open needs.

uvicorn 0.54 stops reading while a message waits for the application, and waits before it sends while the caller does
not read. What it leaves open, and is closed here: answers to pings of a caller who never reads, messages in a million
fragments, a caller taken for gone because its pong waits behind frames that the gateway has not read yet, and
connections that are to be closed and never are, because who is at the other end does not read, or because their
handshake could not be read.
"""

from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

PING_S = 20.0
"""Between two pings."""
PONG_S = 20.0
"""What a caller has to answer one, or to send anything; who does not is gone."""


class Protocol(WebSocketsSansIOProtocol):
    """Holds at most one chunk of the socket, one message and one answer for each connection."""

    _heard = False
    """Since the last ping."""
    _pong = b""
    """The answer to the latest ping, while the caller does not read."""

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.close_sent:
            self._refuse_handshake()

    def _refuse_handshake(self) -> None:
        """Answer a handshake that cannot be read: uvicorn would leave it open, and trip over it when it stops."""
        self.handshake_complete = self.close_sent = True
        said = b"".join(self.conn.data_to_send())
        self.transport.write(said or b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        # Joined as they come: a fragment a byte would cost fifty times what the limit counts.
        if not isinstance(self.frames[0], bytearray):
            self.frames[0] = bytearray(self.frames[0])  # type: ignore[call-overload]  # its type says bytes
        self.frames[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def handle_ping(self) -> None:
        pongs = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(pongs))
        elif pongs:
            self._pong = pongs[-1]  # RFC 6455 5.5.3: one for the latest ping will do

    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        if self.close_sent:  # while an answer was made: uvicorn takes that for a fault of the application
            raise ClientDisconnected
        await super().send(message)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._pong and not self.transport.is_closing():
            self.transport.write(self._pong)
        self._pong = b""

    def send_keepalive_ping(self) -> None:
        self._heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        reads = self.writable.is_set()
        if self._heard or (self.read_paused and reads):  # its pong comes behind frames
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        if not reads:
            self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Say why and read on to nowhere for a while: who is hung up on while it sends would not see the reason."""
        if self.close_sent:
            return
        self._say_closed()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self._pong = b""
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def shutdown(self) -> None:
        super().shutdown()
        if not self.writable.is_set():
            self.transport.abort()

    def _say_closed(self) -> None:
        closed = self.conn.close_sent
        message: Any = {"type": "websocket.disconnect", "code": closed.code if closed else 1006}
        self.queue.put_nowait(message)
