"""`python -m gateway`: serve HTTP and gRPC until told to stop."""

import argparse
import logging
import math
import socket
import sys
from contextlib import suppress

import uvicorn

from gateway import websocket_protocol
from gateway.app import app_from_settings
from gateway.grpc.server import PortError, require_port
from gateway.http_protocol import Protocol
from gateway.memory import keep_freed_memory
from gateway.settings import Settings, SettingsError, settings_from_environment, variable_of

KEEP_ALIVE_S = 75
"""Longer than a reverse proxy keeps an idle connection (nginx: 60 s), so that it is never the gateway that hangs up."""


def main() -> int:
    _parser().parse_args()
    try:
        settings = settings_from_environment()
    except SettingsError as exc:
        sys.stderr.write(f"python -m gateway: {exc}\n")
        return 2
    try:
        require_port(settings.host, settings.grpc_port)  # uvicorn would tell it in a traceback
    except PortError as exc:
        sys.stderr.write(f"python -m gateway: {exc}\n")
        return 1
    keep_freed_memory()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    server = Server(config_from_settings(settings))
    with suppress(KeyboardInterrupt):  # uvicorn raises what stopped it again once everything is closed
        server.run()
    return 0 if server.started else 1


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


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {variable_of(name):24} {field.description}" for name, field in Settings.model_fields.items()]
    return argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve the models of a Triton over HTTP and gRPC.",
        epilog="environment variables:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
