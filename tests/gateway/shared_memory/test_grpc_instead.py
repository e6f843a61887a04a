"""The way back when shared memory cannot be had: photos go by gRPC."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from clients.triton.client import TritonClient
from gateway import segments
from gateway.deadline import Deadline
from gateway.statistics import Statistics
from gateway.tensor_path import REGISTER_S, TensorPath
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import eventually, running, running_gateway
from tests.gateway.shared_memory.watched import (
    PHOTOS,
    names,
    paths,
    results,
    several,
)
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model
from vision.contract import Contract, PadToDivisor


class Elsewhere(FakeTriton):
    """A Triton that has no way to this machine's memory, or is too old to be trusted with it."""

    asked = 0
    """How often for its version: once for each try."""

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's names
        self.asked += 1
        return service_pb2.ServerMetadataResponse(version=self.version)

    async def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._fail("region elsewhere", context)


@pytest.mark.parametrize(
    ("version", "reason"), [("2.51.0", "Unable to open shared memory region"), ("2.49.0", "Triton 2.49.0 cannot tell")]
)
def test_a_triton_that_cannot_have_it_is_asked_by_grpc(
    caplog: pytest.LogCaptureFixture, version: str, reason: str
) -> None:
    """Every request is answered; the reason is logged once, and the metric tells the path."""
    fake_triton = Elsewhere({"colour": FakeModel(colour_contract())})
    fake_triton.version = version
    with (
        caplog.at_level(logging.WARNING),
        running(fake_triton) as fake,
        running_gateway(fake.address) as gateway,
    ):
        for photo in PHOTOS:
            results(gateway, "colour", photo)
        assert paths(gateway) == {("colour", "grpc"): len(PHOTOS)}
        assert fake_triton.asked == 1  # not again for half a minute
    told = [record.getMessage() for record in caplog.records if "by gRPC" in record.getMessage()]
    assert len(told) == 1
    assert reason in told[0]


class Mute(Elsewhere):
    """A Triton that never answers when it is asked to map shared memory, or is asked for its version."""

    mute = "register"
    told = 0
    """How often it was asked to map."""

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.mute == "version":
            self.asked += 1
            await asyncio.Event().wait()
        return await super().ServerMetadata(request, context)

    async def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.told += 1
        await asyncio.Event().wait()


@pytest.mark.parametrize("mute", ["register", "version"])
def test_a_triton_that_does_not_answer_is_asked_by_grpc(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, mute: str
) -> None:
    """After half of a request's time, a second at most, and then not again for a while; the slot is not kept."""
    monkeypatch.setattr("gateway.tensor_path.REGISTER_S", REGISTER_S)
    fake_triton = Mute({"colour": FakeModel(colour_contract(max_batch=1))})
    fake_triton.mute = mute
    with (
        caplog.at_level(logging.WARNING),
        running(fake_triton) as fake,
        running_gateway(fake.address, deadline_s=6.0) as gateway,
    ):
        several(gateway, "colour", PHOTOS[:3])  # three calls, whose slots are taken before the first is refused
        for photo in PHOTOS:
            results(gateway, "colour", photo)
        assert paths(gateway) == {("colour", "grpc"): 3 + len(PHOTOS)}
        assert (fake_triton.asked, fake_triton.told) == (1, int(mute == "register"))
        assert len(names(gateway)) == 2
    told = [record.getMessage() for record in caplog.records if "by gRPC" in record.getMessage()]
    assert len(told) == 1


def test_the_deadline_is_over_the_wait_for_a_slot(fake: FakeTriton) -> None:
    """Slots are made by the threads that decode photos: behind a long one a request is told 504 in time."""
    released = threading.Event()
    with running_gateway(fake.address, decode_threads=1, deadline_s=0.3) as gateway:
        busy = gateway.service.predictor._threads.submit(released.wait, 20)
        answer = gateway.predict("colour", PHOTOS[0], "image/png")
        assert (answer.status_code, answer.json()["error"]) == (504, "deadline_exceeded")
        assert not busy.done()
        released.set()


def test_a_request_that_needs_too_many_slots_takes_none(fake: FakeTriton, caplog: pytest.LogCaptureFixture) -> None:
    """It goes by gRPC at once, whole."""
    with caplog.at_level(logging.WARNING), running_gateway(fake.address, permits=1) as gateway:
        fake.models["one"] = FakeModel(colour_contract(max_batch=1))
        eventually(lambda: gateway.predict("one", PHOTOS[0], "image/png").status_code == 200, within_s=5)
        before = paths(gateway)
        [slot] = names(gateway)
        for photos in (3, 4):
            assert len(several(gateway, "one", PHOTOS[:photos])) == photos
            assert names(gateway) == {slot}
        assert paths(gateway) - before == {("one", "grpc"): 7}
        assert len(several(gateway, "one", PHOTOS[:2])) == 2
        assert (paths(gateway) - before)["one", "shared_memory"] == 2
    told = [record.getMessage() for record in caplog.records if "takes more than the 2 slots" in record.getMessage()]
    assert len(told) == 1  # the numbers in it are no other reason


@pytest.mark.anyio
async def test_a_request_that_finds_too_few_slots_keeps_none() -> None:
    """Others can take what it found while it goes by gRPC."""
    contract = colour_contract(max_batch=1)
    async with TritonClient("127.0.0.1:1") as triton:
        with ThreadPoolExecutor(1) as threads:
            statistics = Statistics(triton)
            tensors = TensorPath(triton, threads, limit=2, sent=lambda model, way: None, statistics=statistics)
            tensors.open()
            async with (
                tensors.slots_for(contract, 1, Deadline(5)) as first,
                tensors.slots_for(contract, 2, Deadline(5)) as none,
                tensors.slots_for(contract, 1, Deadline(5)) as second,
            ):
                assert (len(first), none, len(second)) == (1, [], 1)
            await tensors.close()


@pytest.mark.triton
def test_too_little_memory_is_no_failure(
    models: LocalTriton, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Docker gives 64 MiB, and Triton needs some of it: photos go by gRPC, and the log says what to do."""
    monkeypatch.setattr(segments, "KEPT_FREE_BYTES", 1 << 50)
    with caplog.at_level(logging.WARNING), running_gateway(models.address) as gateway:
        for photo in PHOTOS:
            results(gateway, "shm_colour", photo)
        assert paths(gateway) == {("shm_colour", "grpc"): len(PHOTOS)}
        assert names(gateway) == set()
        assert sum("--shm-size" in record.getMessage() for record in caplog.records) == 1
        monkeypatch.undo()
        results(gateway, "shm_colour", PHOTOS[0])
        assert paths(gateway)["shm_colour", "shared_memory"] == 1


def open_contract() -> Contract:
    contract = colour_contract(max_batch=4)
    shape = contract.input.model_copy(update={"shape": (-1, -1, 3)})
    return contract.model_copy(update={"input": shape, "preprocess": (PadToDivisor(divisor=32, value=(0, 0, 0)),)})


@pytest.mark.triton
def test_a_model_of_open_size_goes_by_grpc(triton: LocalTriton) -> None:
    """Nobody knows how large its slot should be."""
    write_model(triton.repository, "shm_open", open_contract(), colour_graph(side=None))
    triton.load("shm_open")
    with running_gateway(triton.address) as gateway:
        results(gateway, "shm_open", PHOTOS[0])
        assert paths(gateway) == {("shm_open", "grpc"): 1}
