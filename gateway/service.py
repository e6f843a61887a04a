"""The gateway without a transport: what HTTP, and whatever else, stands on."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from clients.triton import TritonClient
from gateway.catalogue import Catalogue
from gateway.decoder import jpeg_decoder
from gateway.metrics import Metrics
from gateway.permits import Permits
from gateway.predictor import Predictor
from gateway.settings import Settings
from gateway.statistics import Statistics
from gateway.telemetry import watch_device
from gateway.tensor_path import TensorPath
from gateway.tracing import tracing_from_environment

if TYPE_CHECKING:
    from gateway.spans import Tracing

SLOTS_PER_PERMIT = 2
"""A request takes one, or as many as it has calls; some are idle, of a size that another model takes."""


@dataclass(frozen=True, slots=True)
class Service:
    """Its parts, for one event loop."""

    settings: Settings
    catalogue: Catalogue
    permits: Permits
    predictor: Predictor
    metrics: Metrics
    tracing: "Tracing | None"


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[Service]:
    """A service that follows Triton's repository for the length of the block. It starts with Triton away, too."""
    cv2.setNumThreads(1)  # photos are spread over threads; OpenCV's own would only fight with them
    async with TritonClient(settings.triton) as triton:
        catalogue = Catalogue(triton, refresh_s=settings.refresh_s, jpeg=jpeg_decoder(settings.decoder))
        permits = Permits(settings.permits, left=lambda: triton.left)
        await catalogue.refresh()
        following = [asyncio.create_task(catalogue.follow())]
        threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="pixels")
        metrics = Metrics(permits, catalogue)
        tracing = tracing_from_environment(metrics)
        statistics = Statistics(triton)
        following.append(asyncio.create_task(statistics.follow()))
        tensors = TensorPath(
            triton, threads, limit=SLOTS_PER_PERMIT * settings.permits, sent=metrics.sent, statistics=statistics
        )
        try:
            metrics.watch(tensors)
            following.append(asyncio.create_task(metrics.exposition.follow()))
            if settings.telemetry == "auto":
                following.append(asyncio.create_task(watch_device(metrics.exposition)))
            if settings.shared_memory == "auto":
                tensors.open()
            predictor = Predictor(tensors, catalogue, threads, max_pixels=settings.max_pixels)
            yield Service(settings, catalogue, permits, predictor, metrics, tracing)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
            await tensors.close()
            if tracing is not None:
                await tracing.close()
            for task in following:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
