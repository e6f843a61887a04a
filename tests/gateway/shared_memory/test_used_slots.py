"""Memory that a model may yet write into, and memory that nobody wants any more."""

import mmap
import threading
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from clients.triton.regions import layout_from_contract
from gateway import slots as slots_module
from gateway import tensor_path
from gateway.segments import PREFIX, SHM
from gateway.slots import Slot, Slots
from tests.gateway.serving import eventually, running_gateway
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
from tests.tiny_models import colour_contract


@pytest.mark.triton
@pytest.mark.parametrize("ends", ["hangs up", "deadline"])
def test_a_slot_is_not_used_again_while_the_model_may_write_there(
    models: LocalTriton, gate: Path, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller leaves, or is told 504, and the model goes on: it writes into memory that nobody else has."""
    monkeypatch.setattr("gateway.retired.CLOSE_S", 20.0)  # what it takes to end, on a machine that may be busy
    layout = layout_from_contract(colour_contract(max_batch=1), 1)
    assert layout is not None
    with running_gateway(models.address, deadline_s=3.0 if ends == "deadline" else 20.0) as gateway:
        address = urlsplit(gateway.url)
        caller = HTTPConnection(str(address.hostname), address.port, timeout=20)
        caller.request("POST", "/v1/models/shm_waits/predict", PHOTOS[0], {"content-type": "image/png"})
        eventually(lambda: paths(gateway)["shm_waits", "shared_memory"] == 1, within_s=10)
        [name] = names(gateway)
        with (SHM / name).open("r+b") as file:
            memory = mmap.mmap(file.fileno(), 0)
        if ends == "deadline":
            assert caller.getresponse().status == 504
        caller.close()
        eventually(lambda: name not in names(gateway), within_s=10)
        assert "gateway_shared_memory_retired 1.0" in gateway.http.get("/metrics").text
        scores = np.frombuffer(memory, np.float32, 3, layout.outputs["scores"].offset)
        pixels = np.frombuffer(memory, np.uint8, layout.batch_nbytes)
        sent = pixels.copy()
        for photo in PHOTOS[1:]:
            results(gateway, "shm_colour", photo)  # of the same size
            assert np.array_equal(pixels, sent)
        assert np.isnan(scores[0])
        gate.touch()
        eventually(lambda: scores.tolist() == [0.75] * 3, within_s=10)
        assert paths(gateway)["shm_colour", "shared_memory"] == len(PHOTOS) - 1
        metrics = gateway.http.get("/metrics").text
        assert "gateway_shared_memory_slots 1.0" in metrics
        assert "gateway_shared_memory_bytes 4096.0" in metrics
        # Triton has let go of it in the end, and knows the other.
        eventually(lambda: name not in regions_now(models), within_s=10)
        eventually(lambda: "gateway_shared_memory_retired 0.0" in gateway.http.get("/metrics").text, within_s=10)
        [other] = names(gateway)
        assert other in regions_now(models)
        stem = stem_of(gateway)
    assert names(stem) == set()
    assert other not in regions_now(models)


@pytest.mark.triton
def test_callers_who_leave_do_not_use_up_the_memory(
    models: LocalTriton, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Triton has not let go of as many slots as there may be, photos go by gRPC until it has."""
    monkeypatch.setattr(tensor_path, "RETRY_S", 1.0)  # where it had not half a second to map one
    with running_gateway(models.address, permits=4, deadline_s=1.0) as gateway:
        tensors = tensors_of(gateway)
        tensors._limit = 1  # of those whose callers left, one is at work for sure
        statuses = [gateway.predict("shm_waits", PHOTOS[0], "image/png").status_code for _ in range(4)]
        assert statuses == [504] * 4
        assert len(names(gateway)) <= 2
        assert paths(gateway)["shm_waits", "grpc"] >= 1
        gate.touch()
        eventually(lambda: not tensors.retired, within_s=10)

        def goes_through_memory() -> bool:
            status = gateway.predict("shm_colour", PHOTOS[0], "image/png").status_code
            return status == 200 and paths(gateway)["shm_colour", "shared_memory"] >= 1

        eventually(goes_through_memory, within_s=10)


@pytest.mark.triton
def test_idle_slots_are_given_up_without_another_request(models: LocalTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer does it; Triton forgets them, too."""
    for module in (slots_module, tensor_path):
        monkeypatch.setattr(module, "IDLE_S", 0.3)
    given_back, give_back = set[str](), Slots.give_back

    def noted(slots: Slots, given: Sequence[Slot]) -> None:
        given_back.update(slot.segment.name for slot in given)
        give_back(slots, given)

    monkeypatch.setattr(Slots, "give_back", noted)
    with running_gateway(models.address) as gateway:
        results(gateway, "shm_colour", PHOTOS[0])
        [name] = given_back
        eventually(lambda: not names(gateway), within_s=10)
        eventually(lambda: name not in regions_now(models), within_s=10)
        assert tensors_of(gateway).slots == 0
        results(gateway, "shm_colour", PHOTOS[0])
        assert paths(gateway)["shm_colour", "shared_memory"] == 2


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

        def open_files() -> int:
            return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))

        def asked(requests: int) -> tuple[int, int, float]:
            callers = [threading.Thread(target=ask, args=(requests // 4,)) for _ in range(4)]
            for each in callers:
                each.start()
            for each in callers:
                each.join()
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            return len(names(f"{PREFIX}{process.pid}")), open_files(), pages * 4096 / 2**20

        slots, files, mib = asked(200)
        slots_after, _, mib_after = asked(2000)
        assert slots_after <= 8  # one for each caller, and a few where several grew at once
        eventually(lambda: open_files() - files <= slots_after - slots, within_s=10)  # when connections are closed
        assert mib_after - mib < 8
