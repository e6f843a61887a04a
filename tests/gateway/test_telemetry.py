"""The device in `/metrics`: a real child process in place of tegrastats, and none where there is none."""

import asyncio
import fcntl
import logging
import math
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clients.telemetry.sample import Sample
from clients.telemetry.tegrastats_source import TegrastatsSource
from gateway.exposition import FOLDER, Exposition
from gateway.telemetry import MOST_SERIES, DeviceMetrics, watch_device
from tests.gateway.serving import eventually, running_gateway, samples
from tests.ports import free_ports
from tests.telemetry import standin


@pytest.fixture
def nowhere() -> str:
    """Where no Triton is: the device is told of without one."""
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_load_memory_heat_and_power_are_told_and_the_child_ends_with_the_gateway(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tegrastats writes is in `/metrics` by zone, rail and core; the end of the gateway is its end."""
    standin.write(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with running_gateway(nowhere) as gateway:
        eventually(lambda: ("gateway_device_gpu_load_ratio",) in samples(gateway), within_s=10)
        told = samples(gateway)
        [pid] = standin.pids(tmp_path)
    assert told["gateway_device_gpu_load_ratio",] == 0.99
    assert told["gateway_device_gpu_clock_hertz",] == 612e6
    assert told["gateway_device_memory_used_bytes",] == 6712 * 2**20
    assert told["gateway_device_temperature_celsius", "gpu"] == 58.625
    assert told["gateway_device_rail_power_watts", "VDD_CPU_GPU_CV"] == 7.104
    assert told["gateway_device_power_watts",] == 16.321
    assert told["gateway_device_cpu_load_ratio", "0"] == 0.38
    assert told["gateway_device_throttled",] == 0
    assert not standin.runs(pid)


@pytest.mark.parametrize("setting", ["off", "auto"])
def test_where_it_is_off_or_there_is_none_nothing_runs(
    setting: str, nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GATEWAY_TELEMETRY=off starts no child; without a tegrastats there is no thread and no series."""
    if setting == "off":
        standin.write(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with running_gateway(nowhere, telemetry=setting) as gateway:
        assert gateway.http.get("/health/live").status_code == 200
        assert "gateway_device" not in gateway.http.get("/metrics").text
        assert not [thread for thread in threading.enumerate() if thread.name == "telemetry"]
    assert standin.pids(tmp_path) == []


def test_a_broken_tegrastats_is_logged_once_and_harms_nobody(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway serves as without one."""
    standin.write(tmp_path, "fails")
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING, "clients.telemetry"), running_gateway(nowhere) as gateway:
        eventually(lambda: "no telemetry from tegrastats" in caplog.text, within_s=10)
        assert gateway.http.get("/health/live").status_code == 200
    assert caplog.text.count("no telemetry") == 1


@pytest.mark.anyio
async def test_of_several_workers_one_asks_and_another_when_that_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers that share their metrics start one child between them; its place is taken when its worker goes."""
    program = str(standin.write(tmp_path))
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr("gateway.telemetry.LOOK_S", 0.01)
    tried: list[int] = []
    flock = fcntl.flock

    def counted(descriptor: int, operation: int) -> None:
        tried.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr("gateway.telemetry.fcntl.flock", counted)
    tasks = []
    for _ in range(2):
        tasks.append(asyncio.create_task(watch_device(Exposition(), lambda: TegrastatsSource(program, 0.02))))
        await _until(lambda: len(standin.pids(tmp_path)) == 1)
    await _until(lambda: len(tried) > 3)
    [first] = standin.pids(tmp_path)
    await _end(tasks[0])
    assert not standin.runs(first)
    await _until(lambda: len(standin.pids(tmp_path)) == 2)
    assert standin.runs(standin.pids(tmp_path)[1])
    await _end(tasks[1])
    assert not standin.runs(standin.pids(tmp_path)[1])


def test_what_is_not_said_any_more_is_no_number() -> None:
    """A rail that is gone from the latest sample is NaN, and so is everything once no sample comes."""
    exposition = Exposition()
    metrics = DeviceMetrics(exposition)
    metrics.show(Sample(1.0, 5, 9, gpu_load=0.5, rails_w={"VDD_IN": 7.0}, throttled=("gpu-throttle-alert",)))
    assert _value(exposition, "gateway_device_throttle_alert") == 1.0
    metrics.show(Sample(2.0, 6, 9, gpu_load=0.25))
    assert _value(exposition, "gateway_device_gpu_load_ratio") == 0.25
    assert _value(exposition, "gateway_device_throttled") == 0.0
    assert math.isnan(_value(exposition, "gateway_device_rail_power_watts"))
    metrics.lose()
    assert math.isnan(_value(exposition, "gateway_device_gpu_load_ratio"))
    assert math.isnan(_value(exposition, "gateway_device_memory_used_bytes"))


def test_names_that_a_source_makes_up_end_somewhere() -> None:
    """However many rails it names, the series are bounded, and those of before go on."""
    exposition = Exposition()
    metrics = DeviceMetrics(exposition)
    for number in range(MOST_SERIES):
        metrics.show(Sample(float(number), 5, 9, rails_w={f"RAIL_{number}": 1.0}))
    families = list(text_string_to_metric_families(exposition.text().decode()))
    assert sum(len(family.samples) for family in families if family.name.startswith("gateway_device")) == MOST_SERIES
    assert _value(exposition, "gateway_device_sample_timestamp_seconds") == MOST_SERIES - 1


def _value(exposition: Exposition, name: str) -> float:
    families = text_string_to_metric_families(exposition.text().decode())
    [sample] = [sample for family in families for sample in family.samples if sample.name == name]
    return sample.value


async def _until(holds: "object") -> None:
    assert callable(holds)
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
