"""A line of `tegrastats`, NVIDIA's own tool, read.

What stands in a line: the Developer Guide's page "tegrastats Utility". It differs by device, by L4T and by who asks:
JetPack 4 writes no units after watts, 7 writes a third figure; the clusters' clocks stand in brackets from L4T 35.4 on;
without root, the bus and clocks may be missing, and Thor says no load. What is not in a line is not in its sample.
"""

import re

from clients.telemetry.sample import Sample
from vision.errors import JetserveError

MIB, MHZ = 2**20, 10**6
RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
SWAP = re.compile(r"\bSWAP (\d+)/(\d+)MB")
CPU = re.compile(r"\bCPU \[([^\]]*)\]")
CORE = re.compile(r"(\d+)%(?:@(\d+))?")
GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?")
BUS = re.compile(r"\bEMC_FREQ (?:(\d+)%)?(?:@(\d+))?")
TEMPERATURE = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C")
RAIL = re.compile(r"\b([A-Z]\w*) (-?\d+)(?:mW)?/(-?\d+)(?:mW)?(?:/-?\d+mW)?(?=\s|$)")
BARE_RAIL = re.compile(r"\b([A-Z]\w*) (-?\d+)mW(?=\s|$)")
NOT_RAILS = frozenset({"RAM", "SWAP", "IRAM", "NC"})
"""What looks like a rail; NC is a channel of the sensor that is not connected."""
OFFLINE_C = -200.0


class TelemetryError(JetserveError):
    """A line that is none of tegrastats', or a source that cannot be read."""


def sample_from_line(
    line: str, at_s: float, throttled: tuple[str, ...] = (), overcurrent_events: int | None = None
) -> Sample:
    """Read a line; what it does not say about throttling is passed in.

    Raises:
        TelemetryError: it does not say how much memory there is, which every line of tegrastats does, or says figures
            that are none.
    """
    ram = RAM.search(line)
    if ram is None:
        raise TelemetryError(f"expected a line of tegrastats, with `RAM 2505/7775MB`; got {line.strip()[:120]!r}")
    try:
        return _sample(line, ram, at_s, throttled, overcurrent_events)
    except (ValueError, OverflowError) as exc:
        raise TelemetryError(f"expected a line of tegrastats; {exc} in {line.strip()[:120]!r}") from exc


def _sample(
    line: str, ram: re.Match[str], at_s: float, throttled: tuple[str, ...], overcurrent_events: int | None
) -> Sample:
    swap = SWAP.search(line)
    gpu, bus = GPU.search(line), BUS.search(line)
    cores = _cores(line)
    return Sample(
        at_s=at_s,
        memory_used_bytes=int(ram[1]) * MIB,
        memory_total_bytes=int(ram[2]) * MIB,
        swap_used_bytes=int(swap[1]) * MIB if swap else None,
        swap_total_bytes=int(swap[2]) * MIB if swap else None,
        gpu_load=_share(gpu),
        gpu_clock_hz=max(int(clock) for clock in gpu[2].split(",")) * MHZ if gpu and gpu[2] else None,
        memory_bus_load=_share(bus),
        memory_bus_clock_hz=int(bus[2]) * MHZ if bus and bus[2] else None,
        cpu_loads=tuple(load for load, _ in cores),
        cpu_clocks_hz=tuple(clock for _, clock in cores),
        temperatures={
            name.lower(): float(celsius) for name, celsius in TEMPERATURE.findall(line) if float(celsius) > OFFLINE_C
        },
        rails_w=_rails(line),
        throttled=throttled,
        overcurrent_events=overcurrent_events,
    )


def _share(found: re.Match[str] | None) -> float | None:
    return int(found[1]) / 100 if found is not None and found[1] is not None else None


def _cores(line: str) -> list[tuple[float | None, int | None]]:
    listed = CPU.search(line)
    if listed is None:
        return []
    cores = [CORE.fullmatch(core.strip()) for core in listed[1].split(",")]
    return [(int(core[1]) / 100, int(core[2]) * MHZ if core[2] else None) if core else (None, None) for core in cores]


def _rails(line: str) -> dict[str, float]:
    found = [(name, now) for name, now, _ in RAIL.findall(line)] + BARE_RAIL.findall(line)
    return {name: int(now) / 1000 for name, now in found if name not in NOT_RAILS}
