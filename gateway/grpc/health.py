"""grpc.health.v1, which follows `/health/ready`: Kubernetes, proxies and gRPC clients ask it."""

import asyncio
from typing import Any

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse

from gateway.grpc.servicer import SERVICE_NAME
from gateway.oip.metadata import server_ready
from gateway.service import Service

SERVICES = (health.OVERALL_HEALTH, SERVICE_NAME)


class Health(health.aio.HealthServicer):  # type: ignore[misc]  # no types
    """SERVING while Triton can be reached and at least one model is ready, until the gateway is told to end."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        await self.look()
        return await super().Check(request, context)

    async def look(self) -> None:
        """Take the readiness of now; who watches is told when it is another."""
        ready = server_ready(self._service)
        for name in SERVICES:
            await self.set(name, HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING)

    async def follow(self) -> None:
        """Look as often as the catalogue does, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._service.settings.refresh_s)
