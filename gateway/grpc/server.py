"""The gRPC server, on the event loop that HTTP is served by."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc import service_pb2_grpc

from gateway.grpc.health import Health
from gateway.grpc.interceptors import OpenCalls, Replaced
from gateway.grpc.servicer import SERVICE_NAME, Servicer, handlers
from gateway.service import Service
from gateway.settings import Settings

HEAD_BYTES = 64 * 1024
"""What a message may have beside its photos."""
AHEAD_BYTES = 256 * 1024
"""What may arrive of a message before it is received: most photos whole, and of a refused one no more."""
DRAIN_AGES = 3
"""How often a connection is made anew in the time that a gateway drains; calls and streams stay on the old one."""
OPEN_CALLS = 64
"""Calls that may be open beside those that hold a permit: so many streams and watches, and so many questions."""


class PortError(OSError):
    """The port cannot be listened on; the message says what to change."""


class Running:
    """The server at work; `port` is the one it has."""

    def __init__(self, server: grpc.aio.Server, port: int, healths: Health, open_calls: OpenCalls, grace_s: float):
        self.port = port
        self._server, self._healths, self._open_calls, self._grace_s = server, healths, open_calls, grace_s
        self._end: asyncio.Task[None] | None = None

    def begin_end(self) -> asyncio.Task[None]:
        """Take no more calls and end the streams; done when calls in work are, or their deadline has passed."""
        if self._end is None:
            self._end = asyncio.create_task(self._ended())
        return self._end

    async def _ended(self) -> None:
        await self._healths.enter_graceful_shutdown()
        self._open_calls.end()
        await self._server.stop(self._grace_s)


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Running]:
    """Serve for the length of the block. Calls in work at the end get their deadline to finish.

    Raises:
        PortError
    """
    settings = service.settings
    open_calls = OpenCalls(OPEN_CALLS, settings.deadline_s)
    servicer, healths = Servicer(service), Health(service)
    replaced = Replaced({f"/{SERVICE_NAME}/{name}": handler for name, handler in handlers(servicer).items()})
    server = grpc.aio.server(interceptors=(open_calls, replaced), options=_options(settings))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _listening(server, settings.host, settings.grpc_port)
    await server.start()
    running = Running(server, port, healths, open_calls, settings.deadline_s)
    following = asyncio.create_task(healths.follow())
    try:
        yield running
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await running.begin_end()


def require_port(host: str, port: int) -> None:
    """Nothing when the port can be listened on; 0 always can.

    Raises:
        PortError
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as exc:
        raise PortError(
            f"gRPC cannot listen on port {port} of {host}: {exc.strerror or exc}; choose another with GATEWAY_GRPC_PORT"
        ) from exc


def _listening(server: grpc.aio.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        listening: int = server.add_insecure_port(address)
    except RuntimeError as exc:
        require_port(host, port)  # which knows why, unless it has become free just now
        raise PortError(f"gRPC cannot listen on {address}: {exc}") from exc
    return listening


def _options(settings: Settings) -> list[tuple[str, int]]:
    # A server that stops cancels calls that come before its GOAWAY has arrived. A connection that is old enough is told
    # to end without that, so callers are sent away now and again, to be elsewhere when a gateway has drained.
    age_s = settings.drain_s / DRAIN_AGES
    return [
        *([("grpc.max_connection_age_ms", math.ceil(1000 * age_s))] if age_s else []),
        ("grpc.max_receive_message_length", settings.max_body_bytes + HEAD_BYTES),
        ("grpc.max_send_message_length", -1),
        # What is kept of a message that no method receives yet. By default gRPC measures the line and takes megabytes.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", AHEAD_BYTES),
        # Only workers, whose `workers` keeps the port: else two gateways would share it, and neither know.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # Cameras vanish without a word: who answers no ping for 15 s is gone. Callers may ping as often.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
