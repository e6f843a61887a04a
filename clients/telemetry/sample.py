"""One look at a Jetson that works."""

from collections.abc import Mapping
from dataclasses import dataclass, field

INPUTS = ("VDD_IN", "VIN", "POM_5V_IN")
"""Rails that all others hang from; AGX Xavier and AGX Orin have none that is measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment; None, and names that are missing, are what the device did not say."""

    at_s: float
    """Of the wall clock, since the epoch."""
    memory_used_bytes: int
    memory_total_bytes: int
    """The machine's and the GPU's: they share it."""
    swap_used_bytes: int | None = None
    swap_total_bytes: int | None = None
    gpu_load: float | None = None
    """0 to 1; tegrastats on Thor does not say it."""
    gpu_clock_hz: int | None = None
    """The fastest of the graphics clusters'; 0 while the GPU is switched off."""
    memory_bus_load: float | None = None
    memory_bus_clock_hz: int | None = None
    cpu_loads: tuple[float | None, ...] = ()
    """0 to 1 of each core, None of one that is switched off."""
    cpu_clocks_hz: tuple[int | None, ...] = ()
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """°C by zone, in small letters; zones of units that are switched off are missing."""
    rails_w: Mapping[str, float] = field(default_factory=dict)
    """Watts at that moment, by rail, as the board calls them; slightly negative ones happen."""
    throttled: tuple[str, ...] = ()
    """What slows the clocks, as the kernel names it."""
    overcurrent_events: int | None = None
    """Since the machine was started."""

    @property
    def is_throttled(self) -> bool:
        return bool(self.throttled)

    @property
    def power_w(self) -> float | None:
        """What the module draws: its input rail, or the sum of the rails where no input is measured."""
        for name in INPUTS:
            if name in self.rails_w:
                return self.rails_w[name]
        return sum(self.rails_w.values()) if self.rails_w else None
