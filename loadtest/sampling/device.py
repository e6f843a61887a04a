"""A Jetson's own telemetry, where there is some: load, memory, temperatures, rails, clocks, throttling."""

import time

from clients.telemetry.sample import Sample
from clients.telemetry.watch import Watch, source_of_machine
from loadtest.sampling.collected import Collected

POWER = "device.power"


class Device:
    """Watches from the beginning to `close`; a machine that says nothing of itself is no error."""

    def __init__(self, collected: Collected, interval_s: float = 1.0) -> None:
        self._collected = collected
        self.throttled: dict[str, int] = {}
        """Samples in which the kernel said so, by what it names."""
        opened = source_of_machine(interval_s)
        self.source = None if opened is None else opened().name
        self._watch = None if opened is None else Watch(opened, self.take)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def take(self, sample: Sample) -> None:
        """One sample."""
        at_s = time.monotonic()

        def add(name: str, unit: str, value: float | None) -> None:
            if value is not None:
                self._collected.add(f"device.{name}", unit, float(value), at_s)

        add("gpu_load", "share", sample.gpu_load)
        add("gpu_clock", "Hz", sample.gpu_clock_hz)
        add("memory_used", "bytes", sample.memory_used_bytes)
        add("swap_used", "bytes", sample.swap_used_bytes)
        add("memory_bus_load", "share", sample.memory_bus_load)
        add("memory_bus_clock", "Hz", sample.memory_bus_clock_hz)
        loads = [load for load in sample.cpu_loads if load is not None]
        add("cpu", "cores", sum(loads) if loads else None)
        clocks = [clock for clock in sample.cpu_clocks_hz if clock is not None]
        add("cpu_clock", "Hz", max(clocks) if clocks else None)
        for zone, celsius in sample.temperatures.items():
            add(f"temperature.{zone}", "°C", celsius)
        for rail, watts in sample.rails_w.items():
            add(f"rail.{rail}", "W", watts)
        add("power", "W", sample.power_w)
        add("throttled", "1", float(sample.is_throttled))
        add("overcurrent_events", "1", sample.overcurrent_events)
        for reason in sample.throttled:
            self.throttled[reason] = self.throttled.get(reason, 0) + 1


def joules(collected: Collected, begin_s: float, end_s: float) -> float | None:
    """Mean power times the time; None where it was not told in at least half of it."""
    watts = collected.between(POWER, begin_s, end_s)
    if not watts or len(watts) < (end_s - begin_s) / 2:
        return None
    return sum(watts) / len(watts) * (end_s - begin_s)
