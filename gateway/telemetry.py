"""What the device says of itself, as metrics: where there is a tegrastats or jtop, and nothing at all elsewhere."""

import asyncio
import fcntl
import logging
import math
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import Gauge

from clients.telemetry.sample import Sample
from clients.telemetry.watch import Source, Watch, source_of_machine
from gateway.exposition import FOLDER, Exposition

logger = logging.getLogger(__name__)

LOCK = "telemetry.lock"
LOOK_S = 1.0
MOST_SERIES = 512
"""Of all gauges together: a Jetson has some sixty; names that a source makes up are not shown for ever."""

PLAIN = {
    "gateway_device_gpu_load_ratio": ("Share of the time that the GPU works", "gpu_load"),
    "gateway_device_gpu_clock_hertz": ("The GPU's clock; 0 while it is switched off", "gpu_clock_hz"),
    "gateway_device_memory_used_bytes": ("Memory in use, by CPU and GPU", "memory_used_bytes"),
    "gateway_device_memory_total_bytes": ("Memory there is, for CPU and GPU", "memory_total_bytes"),
    "gateway_device_swap_used_bytes": ("Swap in use", "swap_used_bytes"),
    "gateway_device_swap_total_bytes": ("Swap there is", "swap_total_bytes"),
    "gateway_device_memory_bus_load_ratio": ("Share of the memory's bandwidth in use", "memory_bus_load"),
    "gateway_device_memory_bus_clock_hertz": ("The memory controller's clock", "memory_bus_clock_hz"),
    "gateway_device_power_watts": ("What the module draws", "power_w"),
    "gateway_device_throttled": ("1 while the kernel slows the device's clocks", "is_throttled"),
    "gateway_device_overcurrent_events": ("Over-current events since the device started", "overcurrent_events"),
    "gateway_device_sample_timestamp_seconds": ("When the device was last looked at", "at_s"),
}
"""Gauges of one figure: their meaning, and the attribute of a sample."""

LABELLED = {
    "gateway_device_cpu_load_ratio": ("Share of the time that a core works", "core"),
    "gateway_device_cpu_clock_hertz": ("A core's clock", "core"),
    "gateway_device_temperature_celsius": ("By thermal zone", "zone"),
    "gateway_device_rail_power_watts": ("By rail of the power supply, as the board calls it", "rail"),
    "gateway_device_throttle_alert": ("1 for what the kernel slows the clocks for", "alert"),
}


class DeviceMetrics:
    """Gauges of the latest sample. What the device does not say has no series, or NaN when it did before."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._gauges: dict[str, Gauge] = {}
        self._seen: dict[tuple[str, str], Gauge] = {}

    def show(self, sample: Sample) -> None:
        """The latest sample, in place of the one before."""
        values = dict(_values(sample))
        for key in values.keys() | self._seen.keys():
            self._set(key, values.get(key, math.nan))

    def lose(self) -> None:
        """There is no latest sample any more."""
        for gauge in self._seen.values():
            gauge.set(math.nan)

    def _set(self, key: tuple[str, str], value: float) -> None:
        if key not in self._seen:
            if len(self._seen) >= MOST_SERIES:
                return
            self._seen[key] = self._made(*key)
        self._seen[key].set(value)

    def _made(self, name: str, label: str) -> Gauge:
        meaning, what = (PLAIN | LABELLED)[name]
        if name not in self._gauges:
            labels = [what] if name in LABELLED else []
            registry = self._exposition.registry
            self._gauges[name] = Gauge(name, meaning, labels, registry=registry, multiprocess_mode="livemax")
        return self._gauges[name].labels(label) if label else self._gauges[name]


def _values(sample: Sample) -> Iterator[tuple[tuple[str, str], float]]:
    """What a sample says, by name and label."""
    for name, (_, attribute) in PLAIN.items():
        value: float | None = getattr(sample, attribute)
        if value is not None:
            yield (name, ""), value
    for core, (load, clock) in enumerate(zip(sample.cpu_loads, sample.cpu_clocks_hz, strict=True)):
        if load is not None:
            yield ("gateway_device_cpu_load_ratio", str(core)), load
        if clock is not None:
            yield ("gateway_device_cpu_clock_hertz", str(core)), clock
    for zone, celsius in sample.temperatures.items():
        yield ("gateway_device_temperature_celsius", zone), celsius
    for rail, watts in sample.rails_w.items():
        yield ("gateway_device_rail_power_watts", rail), watts
    for alert in sample.throttled:
        yield ("gateway_device_throttle_alert", alert), 1.0


async def watch_device(
    exposition: Exposition, opened: Callable[[], Source] | None = None, pause_s: float | None = None
) -> None:
    """Show the device in `/metrics` until cancelled; returns at once where nothing can be asked.

    Of several workers one asks, whichever is first, and another when that one has ended.
    """
    opened = opened or source_of_machine()
    if opened is None:
        return
    async with _turn():
        metrics = DeviceMetrics(exposition)
        watch = Watch(opened, metrics.show, metrics.lose, **({} if pause_s is None else {"pause_s": pause_s}))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(watch.close)


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    """Waits until no other worker holds it; the kernel gives it back when its holder ends."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        yield
        return
    lock = os.open(Path(folder) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOOK_S)
        yield
    finally:
        os.close(lock)
