"""jtop's properties become the same samples."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from clients.telemetry.jtop_source import JtopSource, sample_from_jtop
from clients.telemetry.tegrastats import TelemetryError

DEVICES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "jtop.yaml").read_text())


class Jtop:
    """Answers what it is given, as often as `answers` says, then that its service has ended."""

    def __init__(self, answers: Iterator[bool], **properties: Any) -> None:
        self.memory: Mapping[str, Any] = properties["memory"]
        self.gpu: Mapping[str, Any] = properties["gpu"]
        self.cpu: Mapping[str, Any] = properties["cpu"]
        self.temperature: Mapping[str, Any] = properties["temperature"]
        self.power: Mapping[str, Any] = properties["power"]
        self.calls: list[str] = []
        self._answers = answers

    def start(self) -> None:
        self.calls.append("start")

    def ok(self) -> bool:
        return next(self._answers)

    def close(self) -> None:
        self.calls.append("close")


def test_the_same_figures_as_tegrastats_in_the_same_units() -> None:
    """An Orin Nano's figures: loads as shares, clocks in Hz, memory in bytes, power in watts."""
    sample = sample_from_jtop(Jtop(iter(()), **DEVICES["orin-nano"]), at_s=1.0)
    assert (sample.memory_used_bytes, sample.memory_total_bytes) == (6873088 * 1024, 7802844 * 1024)
    assert (sample.gpu_load, sample.gpu_clock_hz) == (0.99, 612_000_000)
    assert (sample.memory_bus_load, sample.memory_bus_clock_hz) == (0.61, 2_133_000_000)
    assert sample.cpu_loads == (0.38, None)
    assert sample.cpu_clocks_hz == (1_497_600_000, None)
    assert sample.temperatures == {"cpu": 57.125, "gpu": 58.625}
    assert sample.rails_w == {"VDD_CPU_GPU_CV": 7.104, "VDD_SOC": 3.12, "VDD_IN": 16.321}
    assert sample.power_w == 16.321


def test_thor_has_a_load_and_its_sum_is_no_rail() -> None:
    """jtop's own sum of all rails is not one rail more, and a missing memory bus is None."""
    sample = sample_from_jtop(Jtop(iter(()), **DEVICES["thor"]), at_s=1.0)
    assert (sample.gpu_load, sample.gpu_clock_hz, sample.memory_bus_load) == (0.19, 1_575_000_000, None)
    assert sample.rails_w == {"VDD_GPU": 37.528, "VIN": 87.426}
    assert sample.power_w == 87.426


def test_a_service_that_ends_is_an_error_and_closed() -> None:
    """Samples come until jtop says no more, and its connection is closed."""
    jtop = Jtop(iter((True, True, False)), **DEVICES["thor"])
    samples = JtopSource(jetson=jtop).samples()
    assert [next(samples).gpu_load, next(samples).gpu_load] == [0.19, 0.19]
    with pytest.raises(TelemetryError, match="service has ended"):
        next(samples)
    assert jtop.calls == ["start", "close"]


def test_what_jtop_raises_in_between_is_an_error_of_telemetry_and_closed() -> None:
    """Its own exceptions are not known here; none of them reaches whoever watches."""
    jtop = Jtop(iter(()), **DEVICES["thor"])  # an iterator that is at its end raises, as jtop's connection does
    with pytest.raises(TelemetryError, match="jtop failed: StopIteration"):
        next(JtopSource(jetson=jtop).samples())
    assert jtop.calls == ["start", "close"]


def test_answers_of_another_version_are_an_error_not_a_crash() -> None:
    """What is missing is named."""
    properties = DEVICES["thor"] | {"memory": {"ram": {}}}
    with pytest.raises(TelemetryError, match="otherwise than its documentation: KeyError: 'RAM'"):
        sample_from_jtop(Jtop(iter(()), **properties), at_s=1.0)


def test_without_the_package_it_says_so() -> None:
    """A jtop that cannot be imported is an error of telemetry, too."""
    with pytest.raises(TelemetryError, match="cannot ask jtop: ModuleNotFoundError"):
        list(JtopSource().samples())
