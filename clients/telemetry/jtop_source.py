"""jetson-stats (`jtop`), where somebody has installed it: a service of its own, and a Python package to ask it with.

What its properties hold: https://rnext.it/jetson_stats/reference/jtop.html. Clocks are in kHz, memory in KiB, loads in
percent, watts in milliwatts. On Thor it says the GPU's load, which tegrastats does not.
"""

import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from clients.telemetry.sample import Sample
from clients.telemetry.tegrastats import OFFLINE_C, TelemetryError
from clients.telemetry.throttling import alerts, overcurrent_events

SOCKET = Path("/run/jtop.sock")
KIB, KHZ = 1024, 1000


class Jetson(Protocol):
    """What is used of a `jtop.jtop`."""

    memory: Mapping[str, Any]
    gpu: Mapping[str, Any]
    cpu: Mapping[str, Any]
    temperature: Mapping[str, Any]
    power: Mapping[str, Any]

    def start(self) -> None: ...
    def ok(self) -> bool: ...
    def close(self) -> None: ...


def is_there() -> bool:
    """Whether the package is installed and its service runs."""
    return SOCKET.exists() and find_spec("jtop") is not None


def sample_from_jtop(
    jetson: Jetson, at_s: float, throttled: tuple[str, ...] = (), overcurrent: int | None = None
) -> Sample:
    """What jtop knows at this moment.

    Raises:
        TelemetryError: it lacks what every version of it has.
    """
    try:
        ram = jetson.memory["RAM"]
        swap, bus = jetson.memory.get("SWAP") or {}, jetson.memory.get("EMC") or {}
        gpu: Mapping[str, Any] = next(iter(jetson.gpu.values()), {})
        cores = jetson.cpu["cpu"]
        rails = dict(jetson.power["rail"])
        total = jetson.power["tot"]
        if name := total.get("name"):  # an input rail, that the others hang from; else it is their sum
            rails[name] = total
        return Sample(
            at_s=at_s,
            memory_used_bytes=ram["used"] * KIB,
            memory_total_bytes=ram["tot"] * KIB,
            swap_used_bytes=_times(swap.get("used"), KIB),
            swap_total_bytes=_times(swap.get("tot"), KIB),
            gpu_load=_share(gpu.get("status", {}).get("load")),
            gpu_clock_hz=_times(gpu.get("freq", {}).get("cur"), KHZ),
            memory_bus_load=_share(bus.get("val")),
            memory_bus_clock_hz=_times(bus.get("cur"), KHZ),
            cpu_loads=tuple(_share(100 - core["idle"]) if core["online"] else None for core in cores),
            cpu_clocks_hz=tuple(_times(core["freq"]["cur"], KHZ) if core["online"] else None for core in cores),
            temperatures={
                name.lower(): float(zone["temp"])
                for name, zone in jetson.temperature.items()
                if zone.get("online", True) and zone["temp"] > OFFLINE_C
            },
            rails_w={name: rail["power"] / 1000 for name, rail in rails.items() if rail.get("online", True)},
            throttled=throttled,
            overcurrent_events=overcurrent,
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise TelemetryError(f"jtop answers otherwise than its documentation: {type(exc).__name__}: {exc}") from exc


class JtopSource:
    """One connection to jtop's service."""

    name = "jtop"

    def __init__(self, interval_s: float = 1.0, root: Path = Path("/"), jetson: Jetson | None = None) -> None:
        """`jetson` is a `jtop.jtop` that is not started; None makes one."""
        self._interval_s, self._root, self._jetson = interval_s, root, jetson
        self._closed = False

    def samples(self) -> Iterator[Sample]:
        """As `TegrastatsSource.samples`.

        Raises:
            TelemetryError: there is no service, or it ends.
        """
        try:
            jetson = self._jetson or import_module("jtop").jtop(interval=self._interval_s)
            jetson.start()
        except Exception as exc:  # its own exceptions are only known where it is installed
            raise TelemetryError(f"cannot ask jtop: {type(exc).__name__}: {exc}") from exc
        try:
            while not self._closed and _goes_on(jetson):
                yield sample_from_jtop(jetson, time.time(), alerts(self._root), overcurrent_events(self._root))
        finally:
            jetson.close()
        if not self._closed:
            raise TelemetryError("jtop's service has ended")

    def close(self) -> None:
        """No sample comes after the one that is being waited for."""
        self._closed = True


def _goes_on(jetson: Jetson) -> bool:
    """Waits for the next look.

    Raises:
        TelemetryError: whatever jtop raises.
    """
    try:
        return jetson.ok()
    except Exception as exc:
        raise TelemetryError(f"jtop failed: {type(exc).__name__}: {exc}") from exc


def _times(value: float | None, unit: int) -> int | None:
    return None if value is None else round(value * unit)


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
