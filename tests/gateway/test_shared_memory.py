"""Photos through shared memory: the same answers, by another way, and a way back when it is blocked."""

import asyncio
import logging
import mmap
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from clients.regions import Region, layout_from_contract
from clients.triton import TritonClient
from gateway import segments, tensor_path
from gateway import slots as slots_module
from gateway.deadline import Deadline
from gateway.segments import PREFIX, SHM, Owner
from gateway.slots import Slot, Slots
from gateway.statistics import Statistics
from gateway.tensor_path import TensorPath
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running, running_gateway
from tests.local_triton import ROOT, LocalTriton
from tests.ports import free_ports
from tests.tiny_models import SIDE, colour_contract, colour_graph, spot_contract, spot_graph, write_model
from vision.contract import Contract, Output, PadToDivisor
from vision.errors import BackendFailure

ANSWERS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("scores", np.full((1, 3), 0.75, np.float32))])
                for _ in requests]
"""
WAITS = ANSWERS.replace(
    "        return",
    """        import os, time
        end_s = time.monotonic() + 30
        while not os.path.exists("{gate}") and time.monotonic() < end_s:
            time.sleep(0.005)
        return""",
)
PHOTOS = [encoded(30 + i, 40, (40 * i, 200 - 30 * i, 10 * i), ".png") for i in range(6)]


def paths(gateway: RunningGateway) -> Counter[tuple[str, str]]:
    """Calls to Triton by model and path, as /metrics has them."""
    found = re.findall(
        r'^gateway_tensor_path_requests_total\{model="(\w+)",path="(\w+)"\} (\S+)$',
        gateway.http.get("/metrics").text,
        re.MULTILINE,
    )
    return Counter({(model, path): int(float(count)) for model, path, count in found})


def results(gateway: RunningGateway, model: str, photo: bytes) -> list[dict[str, Any]]:
    response = gateway.predict(model, photo, "image/png")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def several(gateway: RunningGateway, model: str, photos: list[bytes]) -> list[dict[str, Any]]:
    files = [("f", (f"{i}.png", photo, "image/png")) for i, photo in enumerate(photos)]
    response = gateway.http.post(f"/v1/models/{model}/predict", files=files)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def tensors_of(gateway: RunningGateway) -> TensorPath:
    """Of its one Triton."""
    [replica] = gateway.service.predictor._replicas.members
    return replica.tensors


def stem_of(gateway: RunningGateway) -> str:
    """What the names of its pieces of shared memory begin with, and those of no other."""
    slots = tensors_of(gateway)._slots
    assert slots is not None
    return slots._owner._stem


def names(owner: RunningGateway | str) -> set[str]:
    """Of the pieces of shared memory of a gateway, or of those whose names begin so."""
    stem = owner if isinstance(owner, str) else stem_of(owner)
    return {path.name for path in SHM.glob(f"{stem}_*") if path.suffix != ".lock"}


async def regions_of(address: str) -> set[str]:
    """What Triton has mapped."""
    async with TritonClient(address) as client:
        return set(await client.regions())


@pytest.fixture(scope="module")
def models(triton: LocalTriton) -> LocalTriton:
    write_model(triton.repository, "shm_colour", colour_contract(max_batch=4), colour_graph())
    write_model(triton.repository, "shm_spot", spot_contract(max_batch=1), spot_graph())  # it mixes up batches
    script = WAITS.format(gate=gate_of(triton))
    write_model(triton.repository, "shm_waits", colour_contract(max_batch=1), script=script)
    for name in ("shm_colour", "shm_spot", "shm_waits"):
        triton.load(name)
    return triton


def gate_of(triton: LocalTriton) -> Path:
    """The file that the model shm_waits waits for."""
    return triton.repository.parent / "gate"


@pytest.fixture
def gate(models: LocalTriton) -> Iterator[Path]:
    """Not there yet; the test makes it, or it is made in the end."""
    gate_of(models).unlink(missing_ok=True)
    yield gate_of(models)
    gate_of(models).touch()


@pytest.fixture(scope="module")
def gateways(models: LocalTriton) -> Iterator[dict[str, RunningGateway]]:
    with running_gateway(models.address) as on, running_gateway(models.address, shared_memory="off") as off:
        yield {"on": on, "off": off}


@pytest.mark.triton
@pytest.mark.parametrize("model", ["shm_colour", "shm_spot"])
def test_answers_are_the_same(gateways: dict[str, RunningGateway], model: str) -> None:
    """Of a classifier, whose output lies in the slot, and of a detector, whose outputs are of open size."""
    before = {way: paths(gateway) for way, gateway in gateways.items()}
    found = {way: [results(gateway, model, photo) for photo in PHOTOS] for way, gateway in gateways.items()}
    assert found["on"] == found["off"]
    assert len({str(each) for each in found["on"]}) > 1 or model == "shm_spot"
    assert paths(gateways["on"]) - before["on"] == {(model, "shared_memory"): len(PHOTOS)}
    assert paths(gateways["off"]) - before["off"] == {(model, "grpc"): len(PHOTOS)}


@pytest.mark.triton
def test_several_photos_take_a_slot_a_call(gateways: dict[str, RunningGateway]) -> None:
    """Ten photos and a largest batch of four: three calls, in order, and the same results."""
    photos = [PHOTOS[i % 6] for i in range(10)]
    alone = [results(gateways["off"], "shm_colour", photo) for photo in photos]
    before = paths(gateways["on"])
    together = several(gateways["on"], "shm_colour", photos)
    assert [each["classes"] for each in together] == [each["classes"] for [each] in alone]
    assert paths(gateways["on"]) - before == {("shm_colour", "shared_memory"): 3}


@pytest.mark.triton
def test_two_models_at_once(gateways: dict[str, RunningGateway]) -> None:
    """Eight callers, two models, photos of different colours: everybody gets the answer to his own."""
    expected = {(m, i): results(gateways["off"], m, PHOTOS[i]) for m in ("shm_colour", "shm_spot") for i in range(6)}
    wrong: list[object] = []

    def caller(seed: int) -> None:
        with httpx.Client(base_url=gateways["on"].url, timeout=30) as http:
            for turn in range(25):
                model, i = ("shm_colour", "shm_spot")[(seed + turn) % 2], (seed * 7 + turn) % 6
                headers = {"content-type": "image/png"}
                answer = http.post(f"/v1/models/{model}/predict", content=PHOTOS[i], headers=headers)
                if answer.status_code != 200 or answer.json()["results"] != expected[model, i]:
                    wrong.append((model, i, answer.text))

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert wrong == []


@pytest.mark.anyio
@pytest.mark.triton
async def test_outputs_of_known_and_of_open_size_do_not_get_mixed_up(triton: LocalTriton) -> None:
    """Those in the slot and those in the message, in any order, are what they are without a slot."""
    contract = colour_contract()
    outputs = (Output(name="open", dtype="FP32", shape=(-1,)), contract.outputs[0])
    contract = contract.model_copy(update={"outputs": (*outputs, Output(name="fixed", dtype="INT64", shape=(2,)))})
    script = ANSWERS.replace(
        'pb_utils.InferenceResponse([pb_utils.Tensor("scores", np.full((1, 3), 0.75, np.float32))])',
        """pb_utils.InferenceResponse([
            pb_utils.Tensor("open", np.arange(10, dtype=np.float32).reshape(2, 5)),
            pb_utils.Tensor("scores", np.arange(6, dtype=np.float32).reshape(2, 3) / 8),
            pb_utils.Tensor("fixed", np.array([[1, 2], [3, 4]])),
        ])""",
    )
    write_model(triton.repository, "shm_mixed", contract, script=script)
    triton.load("shm_mixed")
    layout, owner = layout_from_contract(contract, 2), Owner.here()
    assert layout is not None
    segment = owner.segment(layout.nbytes)
    region = Region(segment.name, segment.memory, layout)
    batch = segment.memory[: layout.batch_nbytes].reshape(2, SIDE, SIDE, 3)
    async with TritonClient(triton.address) as client:
        await client.register_region(segment.name, layout.nbytes)
        await client.register_region(segment.name, layout.nbytes)  # a second time is no error
        inside = await client.infer("shm_mixed", "", contract, batch, timeout_s=5, region=region)
        outside = await client.infer("shm_mixed", "", contract, batch.copy(), timeout_s=5)
        with pytest.raises(BackendFailure, match="does not lie at the beginning"):
            await client.infer("shm_mixed", "", contract, batch[1:], timeout_s=5, region=region)
        await client.unregister_region(segment.name)
        await client.unregister_region(segment.name)
    owner.close()
    triton.unload("shm_mixed")
    assert list(layout.outputs) == ["scores", "fixed"]
    assert inside.outputs.keys() == outside.outputs.keys()
    for name, array in outside.outputs.items():
        np.testing.assert_array_equal(inside.outputs[name], array)
        assert not inside.outputs[name].flags.writeable
    assert np.shares_memory(inside.outputs["fixed"], segment.memory)


@pytest.mark.triton
@pytest.mark.parametrize("ends", ["hangs up", "deadline"])
def test_a_slot_is_not_used_again_while_the_model_may_write_there(models: LocalTriton, gate: Path, ends: str) -> None:
    """A caller leaves, or is told 504, and the model goes on: it writes into memory that nobody else has."""
    deadline_s, patience_s = (0.6, 20.0) if ends == "deadline" else (20.0, 0.6)
    with running_gateway(models.address, deadline_s=deadline_s) as gateway:

        def call() -> None:
            url = f"{gateway.url}/v1/models/shm_waits/predict"
            try:
                answer = httpx.post(url, content=PHOTOS[0], headers={"content-type": "image/png"}, timeout=patience_s)
            except httpx.TimeoutException:
                assert ends == "hangs up"
            else:
                assert answer.status_code == 504

        caller = threading.Thread(target=call)
        caller.start()
        eventually(lambda: names(gateway), within_s=5)
        [name] = names(gateway)
        with (SHM / name).open("r+b") as file:
            memory = mmap.mmap(file.fileno(), 0)
        caller.join()
        eventually(lambda: name not in names(gateway), within_s=5)
        assert "gateway_shared_memory_retired 1.0" in gateway.http.get("/metrics").text
        layout = layout_from_contract(colour_contract(max_batch=1), 1)
        assert layout is not None
        scores = np.frombuffer(memory, np.float32, 3, layout.outputs["scores"].offset)
        pixels = np.frombuffer(memory, np.uint8, layout.batch_nbytes)
        sent = pixels.copy()
        for photo in PHOTOS[1:]:
            results(gateway, "shm_colour", photo)  # of the same size
            assert np.array_equal(pixels, sent)
        assert np.isnan(scores[0])
        gate.touch()
        eventually(lambda: scores.tolist() == [0.75] * 3, within_s=5)
        assert paths(gateway)["shm_colour", "shared_memory"] == len(PHOTOS) - 1
        metrics = gateway.http.get("/metrics").text
        assert "gateway_shared_memory_slots 1.0" in metrics
        assert "gateway_shared_memory_bytes 4096.0" in metrics
        # Triton has let go of it in the end, and knows the other.
        eventually(lambda: name not in regions_now(models), within_s=5)
        eventually(lambda: "gateway_shared_memory_retired 0.0" in gateway.http.get("/metrics").text, within_s=5)
        [other] = names(gateway)
        assert other in regions_now(models)
        stem = stem_of(gateway)
    assert names(stem) == set()
    assert other not in regions_now(models)


@pytest.mark.triton
def test_callers_who_leave_do_not_use_up_the_memory(models: LocalTriton, gate: Path) -> None:
    """Where Triton has not let go of as many slots as there may be, photos go by gRPC until it has."""
    with running_gateway(models.address, permits=4, deadline_s=0.3) as gateway:
        tensors = tensors_of(gateway)
        tensors._limit = 1  # of those whose callers left, one is at work for sure
        statuses = [gateway.predict("shm_waits", PHOTOS[0], "image/png").status_code for _ in range(4)]
        assert statuses == [504] * 4
        assert len(names(gateway)) <= 2
        assert paths(gateway)["shm_waits", "grpc"] >= 1
        gate.touch()
        eventually(lambda: not tensors.retired, within_s=10)
        eventually(lambda: gateway.predict("shm_colour", PHOTOS[0], "image/png").status_code == 200, within_s=5)
        assert paths(gateway)["shm_colour", "shared_memory"] >= 1


@pytest.mark.triton
def test_triton_forgets_what_is_in_use_when_the_gateway_stops(models: LocalTriton, gate: Path) -> None:
    """It is asked until the model has done with it, for a second."""
    with running_gateway(models.address, deadline_s=0.3) as gateway:
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
            eventually(lambda: segment.name not in regions_now(models), within_s=5)
            assert {living.name, other.name} <= regions_now(models)
    finally:
        asyncio.run(forget())
        owner.close()


@pytest.mark.triton
def test_idle_slots_are_given_up_without_another_request(models: LocalTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer does it; Triton forgets them, too."""
    for module in (slots_module, tensor_path):
        monkeypatch.setattr(module, "IDLE_S", 0.3)
    with running_gateway(models.address) as gateway:
        results(gateway, "shm_colour", PHOTOS[0])
        [name] = names(gateway)
        eventually(lambda: not names(gateway), within_s=5)
        eventually(lambda: name not in regions_now(models), within_s=5)
        assert tensors_of(gateway).slots == 0
        results(gateway, "shm_colour", PHOTOS[0])
        assert paths(gateway)["shm_colour", "shared_memory"] == 2


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
        time.sleep(0.3)
        models.kill()
        models.start()
        eventually(lambda: gateway.predict("shm_colour", PHOTOS[0], "image/png").status_code == 200, within_s=10)
        before = paths(gateway)
        time.sleep(0.5)
    finally:
        stop.set()
        for each in callers:
            each.join()
    assert statuses.keys() <= {200, 503}, statuses
    assert (paths(gateway) - before).keys() == {("shm_colour", "shared_memory")}
    eventually(lambda: not tensors_of(gateway).retired, within_s=5)
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
                eventually(lambda: not dead & regions_now(models), within_s=5)  # noqa: B023
                process.kill()
            assert left <= regions_now(models)
            dead = dead | left
        with running_gateway(models.address) as gateway:
            assert names(f"{PREFIX}{process.pid}") == set()
            results(gateway, "shm_colour", PHOTOS[0])  # another gateway may have been quicker with the files
            eventually(lambda: not dead & regions_now(models), within_s=5)
        assert names(bystander) == kept
        assert results(bystander, "shm_colour", PHOTOS[0])
        assert paths(bystander)["shm_colour", "shared_memory"] == 2


def regions_now(triton: LocalTriton) -> set[str]:
    return asyncio.run(regions_of(triton.address))


@contextmanager
def gateway_process(triton: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A gateway in a process of its own, and its URL."""
    [port] = free_ports(1)
    environment = os.environ | {"GATEWAY_PORT": str(port), "GATEWAY_GRPC_PORT": "0", "GATEWAY_TRITON": triton}
    with subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment) as process:
        try:
            eventually(lambda: answers(port), within_s=20)
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.triton
def test_two_thousand_requests_leave_nothing_behind(models: LocalTriton) -> None:
    """As many segments, open files and, but for a few megabytes, as much memory as after the first hundred."""
    with gateway_process(models.address) as (process, url):

        def ask(requests: int) -> None:
            with httpx.Client(base_url=url, timeout=30) as http:
                for i in range(requests):
                    model = ("shm_colour", "shm_spot")[i % 2]
                    headers = {"content-type": "image/png"}
                    answer = http.post(f"/v1/models/{model}/predict", content=PHOTOS[i % 6], headers=headers)
                    assert answer.status_code == 200

        def asked(requests: int) -> tuple[int, int, float]:
            callers = [threading.Thread(target=ask, args=(requests // 4,)) for _ in range(4)]
            for each in callers:
                each.start()
            for each in callers:
                each.join()
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            time.sleep(0.1)  # connections are closed
            return (
                len(names(f"{PREFIX}{process.pid}")),
                len(list(Path(f"/proc/{process.pid}/fd").iterdir())),
                pages * 4096 / 2**20,
            )

        slots, files, mib = asked(200)
        slots_after, files_after, mib_after = asked(2000)
        assert slots_after <= 4
        assert files_after - files <= slots_after - slots
        assert mib_after - mib < 8


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
def test_a_triton_that_does_not_answer_is_asked_by_grpc(caplog: pytest.LogCaptureFixture, mute: str) -> None:
    """After half of a request's time, a second at most, and then not again for a while; the slot is not kept."""
    fake_triton = Mute({"colour": FakeModel(colour_contract(max_batch=1))})
    fake_triton.mute = mute
    with (
        caplog.at_level(logging.WARNING),
        running(fake_triton) as fake,
        running_gateway(fake.address, deadline_s=2.0) as gateway,
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
    with running_gateway(fake.address, decode_threads=1, deadline_s=0.3) as gateway:
        busy = gateway.service.predictor._threads.submit(time.sleep, 2.0)
        began_s = time.monotonic()
        answer = gateway.predict("colour", PHOTOS[0], "image/png")
        assert (answer.status_code, answer.json()["error"]) == (504, "deadline_exceeded")
        assert time.monotonic() - began_s < 1.0
        busy.result()


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


@pytest.mark.triton
def test_an_output_that_was_not_written_is_no_answer(triton: LocalTriton) -> None:
    """What was there before must not pass for the model's: a Python backend with NumPy 2 writes nothing."""
    contract, owner = colour_contract(), Owner.here()
    layout = layout_from_contract(contract, 1)
    assert layout is not None
    segment = owner.segment(layout.nbytes)
    segment.memory[:] = 0
    region = Region(segment.name, segment.memory, layout)
    batch = segment.memory[: layout.batch_nbytes].reshape(1, SIDE, SIDE, 3)

    class Silent(Elsewhere):
        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            response = service_pb2.ModelInferResponse(model_name="colour", model_version="1")
            response.outputs.add(name="scores", datatype="FP32", shape=(1, 3))
            response.raw_output_contents.append(b"")
            return response

    async def ask(address: str) -> None:
        async with TritonClient(address) as client:
            await client.infer("colour", "", contract, batch, timeout_s=5, region=region)

    with (
        running(Silent({"colour": FakeModel(contract)})) as fake,
        pytest.raises(BackendFailure, match="announced and not written"),
    ):
        asyncio.run(ask(fake.address))
    owner.close()


@pytest.mark.triton
@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_results_are_read_before_the_slot_is_given_back(
    models: LocalTriton, gateways: dict[str, RunningGateway], monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    """And nothing that is kept of them, for the answer or the picture, lies in it."""
    expected = gateways["off"].predict("shm_colour", PHOTOS[0], "image/png", accept=accept)
    give_back, scribbled = Slots.give_back, []

    def scribble(slots: Slots, given: Sequence[Slot]) -> None:
        for slot in given:
            slot.segment.memory[:] = 0x55
            scribbled.append(slot)
        give_back(slots, given)

    monkeypatch.setattr(Slots, "give_back", scribble)
    with running_gateway(models.address) as gateway:
        answer = gateway.predict("shm_colour", PHOTOS[0], "image/png", accept=accept)
        assert paths(gateway) == {("shm_colour", "shared_memory"): 1}
    assert len(scribbled) == 1
    if accept == "application/json":
        assert answer.json()["results"] == expected.json()["results"]
    else:
        assert answer.content == expected.content
