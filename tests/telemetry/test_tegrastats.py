"""Lines of tegrastats, from JetPack 4 to 7."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from clients.telemetry.tegrastats import TelemetryError, sample_from_line

MIB, MHZ = 2**20, 10**6
LINES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "lines.yaml").read_text())


@pytest.mark.parametrize("recorded", LINES, ids=lambda recorded: recorded["device"])
def test_every_figure_of_a_line_is_read_and_none_is_made_up(recorded: dict[str, Any]) -> None:
    """What a line says is in its sample, in SI units; what it does not say is None or missing."""
    sample = sample_from_line(recorded["line"], at_s=7.0, throttled=("gpu-throttle-alert",), overcurrent_events=3)
    swap = recorded.get("swap_mib")
    assert [sample.memory_used_bytes, sample.memory_total_bytes] == [mib * MIB for mib in recorded["memory_mib"]]
    assert [sample.swap_used_bytes, sample.swap_total_bytes] == ([mib * MIB for mib in swap] if swap else [None, None])
    assert sample.gpu_load == recorded.get("gpu_load")
    assert sample.gpu_clock_hz == _hertz(recorded.get("gpu_mhz"))
    assert sample.memory_bus_load == recorded.get("bus_load")
    assert sample.memory_bus_clock_hz == _hertz(recorded.get("bus_mhz"))
    assert len(sample.cpu_loads) == len(sample.cpu_clocks_hz) == recorded["cores"]
    assert sample.temperatures == recorded["temperatures"]
    assert sample.rails_w == pytest.approx(recorded["rails_w"])
    assert sample.power_w == pytest.approx(recorded["power_w"])
    assert (sample.at_s, sample.throttled, sample.overcurrent_events) == (7.0, ("gpu-throttle-alert",), 3)


def test_the_lines_are_of_the_devices_that_are_promised() -> None:
    """Xavier, Orin and Thor, with JetPack 5, 6 and 7, are among the recorded lines."""
    told = " ".join(recorded["device"] for recorded in LINES)
    assert all(name in told for name in ("Xavier", "Orin", "Thor", "JetPack 5", "JetPack 6", "JetPack 7"))


def test_cores_that_are_switched_off_have_no_load() -> None:
    """`off` is None for load and clock, in the core's place."""
    sample = sample_from_line("RAM 1/2MB (lfb 1x4MB) CPU [11%@729,off,18%@1420]", at_s=0.0)
    assert sample.cpu_loads == (0.11, None, 0.18)
    assert sample.cpu_clocks_hz == (729 * MHZ, None, 1420 * MHZ)


def test_rails_may_be_slightly_negative_and_without_a_mean() -> None:
    """A rail's sensor may say a little less than nothing, and an early Thor writes one figure only."""
    sample = sample_from_line("RAM 1/2MB VDD_GPU -392mW/-392mW VDD_CPU_SOC_MSS 7484mW VIN 28548mW", at_s=0.0)
    assert sample.rails_w == {"VDD_GPU": -0.392, "VDD_CPU_SOC_MSS": 7.484, "VIN": 28.548}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "tegrastats: command not found",
        "RAM lots/7620MB",
        "CPU [1%@2]",
        "RAM 1/2MB GR3D_FREQ 5%@[,]",
        "RAM 1/2MB GR3D_FREQ 5%@[314,]",
        f"RAM {'9' * 5000}/2MB",
        f"RAM 1/2MB GR3D_FREQ {'9' * 400}%",
    ],
)
def test_what_is_no_line_is_refused(line: str) -> None:
    """A text without the memory is no line of tegrastats, nor is one whose figures are none; the error shows it."""
    with pytest.raises(TelemetryError, match="expected a line of tegrastats"):
        sample_from_line(line, at_s=0.0)


def _hertz(mhz: int | None) -> int | None:
    return None if mhz is None else mhz * MHZ
