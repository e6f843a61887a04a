"""uvicorn, as this project configures it."""

import asyncio
import math
import socket
import time
from types import FrameType

import uvicorn

from gateway import websocket_protocol
from gateway.app import app_from_settings
from gateway.http_protocol import Protocol, ServerState
from gateway.settings import Settings

LOOK_S = 0.05
KEEP_ALIVE_S = 75
"""Longer than a reverse proxy keeps an idle connection (nginx: 60 s), so that it is never the gateway that hangs up."""


def config_from_settings(settings: Settings) -> uvicorn.Config:
    """How uvicorn is to serve; requests in work at the end get their deadline to finish."""
    return uvicorn.Config(
        app_from_settings(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Protocol,
        ws=websocket_protocol.Protocol,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=websocket_protocol.PING_S,
        ws_ping_timeout=websocket_protocol.PONG_S,
        ws_per_message_deflate=False,  # photos are compressed already
        access_log=False,
        proxy_headers=False,  # nothing depends on where callers are
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.deadline_s),
    )


class Server(uvicorn.Server):
    """uvicorn's, that drains, and then has gRPC end when HTTP begins to: the lifespan does not, until HTTP has.

    Who is told to end is still sent requests, until every proxy and client has heard of it, and a connection that is
    closed between two requests may lose the second. So for `drain_s` it serves on, and says `Connection: close` with
    every answer (RFC 9112 9.6): whoever asks again asks elsewhere. A second signal ends that at once.
    """

    def __init__(self, config: uvicorn.Config, drain_s: float = 0.0) -> None:
        super().__init__(config)
        self.server_state = self._state = ServerState()
        self._drain_s = drain_s
        self._told_again = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._told_again = self.should_exit
        super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        await super().main_loop()
        self._state.draining = True
        self.config.app.state.service.draining.set()  # type: ignore[union-attr]  # an ASGI app; ours has it
        end_s = time.monotonic() + self._drain_s
        while time.monotonic() < end_s and not self._told_again:  # noqa: ASYNC110 - a signal sets it, and wakes nobody
            await asyncio.sleep(LOOK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.grpc.begin_end()  # type: ignore[union-attr]  # an ASGI app; ours has it
        await super().shutdown(sockets)
