"""Gateways and Tritons that end: what they leave is forgotten, and what others have stays."""

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from clients.triton.client import TritonClient
from gateway.segments import PREFIX, SHM, Owner
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.gateway.shared_memory.watched import (
    PHOTOS,
    gateway_process,
    names,
    paths,
    regions_now,
    results,
    stem_of,
    tensors_of,
)
from tests.local_triton import LocalTriton


@pytest.mark.triton
def test_triton_forgets_what_is_in_use_when_the_gateway_stops(
    models: LocalTriton, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked until the model has done with it, for a second; here for longer, on a machine that may be busy."""
    monkeypatch.setattr("gateway.retired.CLOSE_S", 20.0)
    with running_gateway(models.address, deadline_s=3.0) as gateway:
        assert gateway.predict("shm_waits", PHOTOS[0], "image/png").status_code == 504
        stem = stem_of(gateway)
        assert any(name.startswith(stem) for name in regions_now(models))
        timer = threading.Timer(0.4, gate.touch)
        timer.start()
    timer.join()
    assert not any(name.startswith(stem) for name in regions_now(models))


@pytest.mark.triton
def test_regions_whose_gateway_is_gone_are_forgotten(models: LocalTriton) -> None:
    """By the first gateway that uses this Triton, whoever swept the files; what others registered stays."""
    owner = Owner.here()
    segment, living = owner.segment(4096), owner.segment(4096)
    other = SHM / f"not_{segment.name}"
    other.write_bytes(bytes(4096))

    async def register() -> None:
        async with TritonClient(models.address) as client:
            for name in (segment.name, living.name, other.name):
                await client.register_region(name, 4096)

    async def forget() -> None:
        async with TritonClient(models.address) as client:
            for name in (living.name, other.name):
                await client.unregister_region(name)

    asyncio.run(register())
    segment.remove()
    other.unlink()
    try:
        with running_gateway(models.address) as gateway:
            assert segment.name in regions_now(models)
            results(gateway, "shm_colour", PHOTOS[0])
            eventually(lambda: segment.name not in regions_now(models), within_s=10)
            assert {living.name, other.name} <= regions_now(models)
    finally:
        asyncio.run(forget())
        owner.close()


@pytest.mark.triton
def test_triton_restarted_in_the_middle(models: LocalTriton, gateways: dict[str, RunningGateway]) -> None:
    """Slots are registered anew: callers see 200 and, while it is away, 503; then all is as before."""
    gateway, statuses, stop = gateways["on"], Counter[int](), threading.Event()
    expected = results(gateway, "shm_colour", PHOTOS[0])

    def caller() -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            while not stop.is_set():
                headers = {"content-type": "image/png"}
                answer = http.post("/v1/models/shm_colour/predict", content=PHOTOS[0], headers=headers)
                statuses[answer.status_code] += 1
                if answer.status_code == 503:
                    stop.wait(0.05)  # Triton needs the processors to start
                if answer.status_code == 200 and answer.json()["results"] != expected:
                    statuses[-1] += 1

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for each in callers:
        each.start()
    try:
        eventually(lambda: statuses[200] >= 20, within_s=10)
        models.kill()
        models.start()
        eventually(lambda: gateway.predict("shm_colour", PHOTOS[0], "image/png").status_code == 200, within_s=20)
        before = paths(gateway)
        eventually(lambda: (paths(gateway) - before).total() >= 20, within_s=10)
    finally:
        stop.set()
        for each in callers:
            each.join()
    assert statuses.keys() <= {200, 503}, statuses
    assert (paths(gateway) - before).keys() == {("shm_colour", "shared_memory")}
    eventually(lambda: not tensors_of(gateway).retired, within_s=10)
    assert regions_now(models) & names(gateway)
    assert results(gateway, "shm_colour", PHOTOS[0]) == expected


@pytest.mark.triton
def test_an_idle_gateway_survives_a_restart_of_triton(models: LocalTriton) -> None:
    """Its slots are not known to the new one: the first request registers its own and is sent again, unnoticed."""
    with running_gateway(models.address) as gateway:
        expected, slots = results(gateway, "shm_colour", PHOTOS[0]), names(gateway)
        models.kill()
        models.start()
        answer = gateway.predict("shm_colour", PHOTOS[0], "image/png")
        while answer.status_code == 503:
            time.sleep(0.05)
            answer = gateway.predict("shm_colour", PHOTOS[0], "image/png")
        assert answer.json()["results"] == expected
        assert paths(gateway)["shm_colour", "grpc"] == 0
        assert names(gateway) == slots


@pytest.mark.triton
def test_what_a_killed_gateway_leaves_is_swept_by_the_next(models: LocalTriton) -> None:
    """From /dev/shm and from Triton; the number of segments does not grow from one to the next."""
    with running_gateway(models.address) as bystander:
        results(bystander, "shm_colour", PHOTOS[0])
        kept = names(bystander)
        dead: set[str] = set()
        for _ in range(3):
            with gateway_process(models.address) as (process, url):
                for model in ("shm_colour", "shm_spot"):
                    headers = {"content-type": "image/png"}
                    answer = httpx.post(f"{url}/v1/models/{model}/predict", content=PHOTOS[0], headers=headers)
                    assert answer.status_code == 200, answer.text
                left = names(f"{PREFIX}{process.pid}")
                assert len(left) == 1  # both models' slots are of one size
                assert left <= regions_now(models)
                eventually(lambda: not dead & regions_now(models), within_s=10)  # noqa: B023
                process.kill()
            assert left <= regions_now(models)
            dead = dead | left
        with running_gateway(models.address) as gateway:
            assert names(f"{PREFIX}{process.pid}") == set()
            results(gateway, "shm_colour", PHOTOS[0])  # another gateway may have been quicker with the files
            eventually(lambda: not dead & regions_now(models), within_s=10)
        assert names(bystander) == kept
        assert results(bystander, "shm_colour", PHOTOS[0])
        assert paths(bystander)["shm_colour", "shared_memory"] == 2
