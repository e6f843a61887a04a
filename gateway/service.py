"""The gateway without a transport: what HTTP, and whatever else, stands on."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2

from gateway.addresses import Addresses
from gateway.catalogues import Catalogues
from gateway.decoder import jpeg_decoder
from gateway.exposition import Exposition
from gateway.metrics import Metrics
from gateway.permits import Permits
from gateway.predictor import Predictor
from gateway.replica import Equipment
from gateway.replica_metrics import ReplicaMetrics
from gateway.replicas import Replicas
from gateway.settings import Settings
from gateway.telemetry import watch_device
from gateway.tracing import tracing_from_environment

if TYPE_CHECKING:
    from gateway.spans import Tracing

SLOTS_PER_PERMIT = 2
"""For each replica. A request takes one, or as many as it has calls; some are idle, of another model's size."""


@dataclass(frozen=True, slots=True)
class Service:
    """Its parts, for one event loop."""

    settings: Settings
    catalogue: Catalogues
    permits: Permits
    predictor: Predictor
    metrics: Metrics
    tracing: "Tracing | None"
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has been told to end: it serves on for a while, and is ready for nobody any more."""


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[Service]:
    """A service that follows the repositories of its Tritons for the length of the block. It starts without, too."""
    cv2.setNumThreads(1)  # photos are spread over threads; OpenCV's own would only fight with them
    threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="pixels")
    exposition = Exposition()
    equipment = Equipment(
        threads=threads,
        jpeg=jpeg_decoder(settings.decoder),
        refresh_s=settings.refresh_s,
        shared_memory=settings.shared_memory == "auto",
        slots=SLOTS_PER_PERMIT * settings.permits,
        sent=lambda model, way: metrics.sent(model, way),
    )
    replicas = Replicas(Addresses(settings.triton), equipment, ReplicaMetrics(exposition))
    permits = Permits(settings.permits, left=lambda: replicas.left)
    metrics = Metrics(permits, replicas.catalogue, exposition)
    tracing = tracing_from_environment(metrics)
    following = []
    try:
        await replicas.open()
        metrics.watch(replicas)
        following.append(asyncio.create_task(exposition.follow()))
        if settings.telemetry == "auto":
            following.append(asyncio.create_task(watch_device(exposition)))
        predictor = Predictor(replicas, threads, max_pixels=settings.max_pixels)
        yield Service(settings, replicas.catalogue, permits, predictor, metrics, tracing)
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
        await replicas.close()
        if tracing is not None:
            await tracing.close()
        for task in following:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
