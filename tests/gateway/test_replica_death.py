"""Two real Tritons under load: one dies, or hangs, and comes back; no caller hears of it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway, samples
from tests.local_triton import LocalTriton, require_triton
from tests.tiny_models import colour_contract, colour_graph, write_model

pytestmark = pytest.mark.triton

RED_PHOTO = encoded(40, 40, (0, 0, 255), ".png")
USERS = 8
BALANCED_S, SHARE = 10.0, 0.35


@pytest.fixture(scope="module")
def tritons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalTriton, LocalTriton]]:
    require_triton()
    both = LocalTriton(tmp_path_factory.mktemp("first")), LocalTriton(tmp_path_factory.mktemp("second"))
    starting = [threading.Thread(target=begin, args=(triton,)) for triton in both]
    for each in starting:
        each.start()
    for each in starting:
        each.join()
    with both[0].kept_up(), both[1].kept_up():
        yield both


def begin(triton: LocalTriton) -> None:
    write_model(triton.repository, "colour", colour_contract(), colour_graph())
    triton.start("colour")


@pytest.fixture(scope="module")
def gateway(tritons: tuple[LocalTriton, LocalTriton]) -> Iterator[RunningGateway]:
    """As it is deployed: with a look every second."""
    with running_gateway(",".join(triton.address for triton in tritons), refresh_s=1.0) as gateway:
        yield gateway


@dataclass
class Load:
    """What users who ask one request after the other have got so far."""

    done: int = 0
    failed: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    begun_s: dict[int, float] = field(default_factory=dict)
    """When the request that each user waits for was sent (`time.monotonic`)."""


@contextmanager
def load(gateway: RunningGateway) -> Iterator[Load]:
    """For the length of the block."""
    found, ended = Load(), threading.Event()

    def ask_on(number: int) -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            while not ended.is_set():
                found.begun_s[number] = began_s = time.monotonic()
                try:
                    headers = {"content-type": "image/png"}
                    answer = http.post("/v1/models/colour/predict", content=RED_PHOTO, headers=headers)
                except httpx.HTTPError as exc:
                    found.failed.append(repr(exc))
                    continue
                if answer.status_code != 200 or answer.json()["results"][0]["classes"][0]["label"] != "red":
                    found.failed.append(answer.text)
                found.longest_s = max(found.longest_s, time.monotonic() - began_s)
                found.done += 1

    users = [threading.Thread(target=ask_on, args=(number,)) for number in range(USERS)]
    for user in users:
        user.start()
    try:
        yield found
    finally:
        ended.set()
        for user in users:
            user.join(40)


def share(gateway: RunningGateway, triton: LocalTriton, of: int = 60) -> float:
    """How much of what is answered from now on, so many requests at least, that Triton answers."""
    before = samples(gateway)
    end_s = time.monotonic() + 30
    while True:
        time.sleep(0.1)
        after = samples(gateway)
        counted = {
            key: value - before.get(key, 0)
            for key, value in after.items()
            if key[:2] == ("gateway_replica_requests_total", "ok")
        }
        if sum(counted.values()) >= of:
            return counted.get(("gateway_replica_requests_total", "ok", triton.address), 0.0) / sum(counted.values())
        assert time.monotonic() < end_s, f"fewer than {of} requests were answered in half a minute"


def test_one_that_is_killed_costs_no_request(
    gateway: RunningGateway, tritons: tuple[LocalTriton, LocalTriton], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SIGKILL, under eight users, and brought back: none fails, and it has its share again within 10 s."""
    monkeypatch.setattr("gateway.tensor_path.REGISTER_S", 5.0)  # or a busy machine might take a turn by gRPC
    first, second = tritons
    with load(gateway) as users:
        eventually(lambda: share(gateway, first) >= SHARE and share(gateway, second) >= SHARE, within_s=10)
        first.kill()
        eventually(lambda: share(gateway, second) == 1.0, within_s=5)
        done = users.done
        eventually(lambda: users.done > done + 4 * USERS, within_s=5)
        first.start()
        eventually(lambda: share(gateway, first) >= SHARE, within_s=BALANCED_S)
        assert share(gateway, first, of=240) >= SHARE
    assert users.failed == []
    assert samples(gateway)["gateway_retries_total", "backend_unavailable"] >= 1
    assert gateway.service.permits.taken == 0
    paths = {key[2]: value for key, value in samples(gateway).items() if key[0] == "gateway_tensor_path_requests_total"}
    assert paths["shared_memory"] > 10 * paths.get("grpc", 0)  # with each of them, before and after


def test_one_that_hangs_costs_no_request_its_deadline(
    gateway: RunningGateway, tritons: tuple[LocalTriton, LocalTriton]
) -> None:
    """Its server stopped, as a machine without power: no connection breaks. What it had goes to the other when it did
    not answer a look, seconds before the deadline; when it goes on, it is used again."""
    first, second = tritons
    with load(gateway) as users:
        eventually(lambda: share(gateway, first) >= SHARE and share(gateway, second) >= SHARE, within_s=10)
        os.kill(first.pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        try:
            eventually(lambda: samples(gateway)["gateway_replica_up", first.address] == 0, within_s=6)
            eventually(lambda: min(users.begun_s.values()) > stopped_s, within_s=6)
            eventually(lambda: share(gateway, second) == 1.0, within_s=5)
        finally:
            os.kill(first.pid, signal.SIGCONT)
        eventually(lambda: share(gateway, first) >= SHARE, within_s=BALANCED_S)
    assert users.failed == []
    assert 0.5 < users.longest_s < gateway.service.settings.deadline_s - 2
    assert gateway.service.permits.taken == 0
