"""uvicorn, as this project configures it."""

import math
import socket

import uvicorn

from gateway import websocket_protocol
from gateway.app import app_from_settings
from gateway.http_protocol import Protocol
from gateway.settings import Settings

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
    """uvicorn's, with gRPC ending when HTTP begins to end: the lifespan does not, until HTTP has."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.grpc.begin_end()  # type: ignore[union-attr]  # an ASGI app; ours has it
        await super().shutdown(sockets)
