"""Several Tritons behind one gateway: who is asked, and who instead of one that fails."""

import asyncio
import functools
import json
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc

from clients.triton import TritonClient
from gateway.addresses import Addresses
from gateway.catalogue import Catalogue
from gateway.catalogues import Catalogues
from gateway.exposition import Exposition
from gateway.listing import listed
from gateway.replica import Equipment
from gateway.replica_metrics import ReplicaMetrics
from gateway.replicas import Replicas
from gateway.servable import Servable
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, answers, eventually, process, running, running_gateway, samples
from tests.gateway.streams import answer, streaming
from tests.tiny_models import colour_contract, spot_contract
from vision.decode import exact
from vision.errors import BackendUnavailable

PHOTO = encoded(40, 40)


@dataclass
class Frozen(FakeTriton):
    """A fake that lists nothing either while it `hangs`, as a stopped process, or with `listless` alone."""

    listless: bool = False
    listing_s: float = 0.0
    host: str = "127.0.0.1"
    listings: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        self.listings += 1
        await asyncio.sleep(self.listing_s)
        while self.hangs or self.listless:  # noqa: ASYNC110 - tests set it from another thread
            await asyncio.sleep(0.005)
        return await super().RepositoryIndex(request, context)


def models() -> dict[str, FakeModel]:
    return {"colour": FakeModel(colour_contract()), "spot": FakeModel(spot_contract())}


@pytest.fixture
def a() -> Iterator[Frozen]:
    with running(Frozen(models())) as fake:
        yield fake


@pytest.fixture
def b() -> Iterator[Frozen]:
    with running(Frozen(models())) as fake:
        yield fake


@pytest.fixture
def both(a: Frozen, b: Frozen) -> Iterator[RunningGateway]:
    with before(a, b) as gateway:
        yield gateway


@contextmanager
def before(*fakes: Frozen, **settings: object) -> Iterator[RunningGateway]:
    """A gateway before these, each of which it has found to be there."""
    with running_gateway(",".join(fake.address for fake in fakes), **settings) as gateway:
        eventually(lambda: all(is_up(gateway, fake) for fake in fakes), within_s=5)
        yield gateway


@contextmanager
def asking(gateway: RunningGateway, count: int, model: str = "colour") -> Iterator[Callable[[], list[httpx.Response]]]:
    """That many requests at once, each on a connection of its own; what they got, when all have ended."""

    def one(_: int) -> httpx.Response:
        url = f"{gateway.url}/v1/models/{model}/predict"
        return httpx.post(url, content=PHOTO, headers={"content-type": "image/jpeg"}, timeout=30)

    with ThreadPoolExecutor(count) as users:
        asked = [users.submit(one, number) for number in range(count)]
        yield lambda: [each.result() for each in asked]


def is_up(gateway: RunningGateway, fake: FakeTriton) -> bool:
    return samples(gateway).get(("gateway_replica_up", fake.address)) == 1


def attempts(gateway: RunningGateway, fake: FakeTriton, outcome: str = "ok") -> float:
    key = ("gateway_replica_requests_total", outcome, fake.address)
    return samples(gateway).get(key, 0)


def retries(gateway: RunningGateway, reason: str) -> float:
    return samples(gateway).get(("gateway_retries_total", reason), 0)


def statuses(responses: list[httpx.Response]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def kill(fake: Frozen) -> None:
    """As SIGKILL: its connections break, with requests in them."""
    assert fake._server is not None
    asyncio.run_coroutine_threadsafe(fake.stop(), fake._server._loop).result(5)


def start(fake: Frozen, loop: asyncio.AbstractEventLoop) -> None:
    asyncio.run_coroutine_threadsafe(fake.start(), loop).result(5)


def test_one_user_is_served_in_turns(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Of replicas that have as little to do, each has its turn."""
    for _ in range(10):
        assert both.predict("colour", PHOTO).status_code == 200
    assert (len(a.received), len(b.received)) == (5, 5)
    assert (attempts(both, a), attempts(both, b)) == (5, 5)


def test_whoever_has_the_least_in_flight_is_asked(
    both: RunningGateway, a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slower machine has its requests for longer, and so gets fewer: nobody has to say how fast each is."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 60.0)
    a.hangs = True
    with asking(both, 2) as first:
        eventually(lambda: a.received and b.received, within_s=5)
        eventually(lambda: samples(both)["gateway_replica_in_flight", b.address] == 0, within_s=5)
        assert samples(both)["gateway_replica_in_flight", a.address] == 1
        for _ in range(6):
            assert both.predict("colour", PHOTO).status_code == 200
        assert (len(a.received), len(b.received)) == (1, 7)
        a.hangs = False
        assert statuses(first()) == {200: 2}


def test_turns_of_one_that_is_away_go_to_all(a: Frozen, b: Frozen) -> None:
    """Not all of them to the one that stands behind it in the list."""
    with running(Frozen(models())) as c, before(a, b, c, refresh_s=60) as gateway:
        kill(b)
        while is_up(gateway, b):
            assert gateway.predict("colour", PHOTO).status_code == 200
        received = len(a.received), len(c.received)
        for _ in range(12):
            assert gateway.predict("colour", PHOTO).status_code == 200
        assert (len(a.received), len(c.received)) == (received[0] + 6, received[1] + 6)


def test_a_request_weighs_as_much_as_its_photos(
    both: RunningGateway, a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight photos are work for longer than one: others do not queue behind them while another replica has less."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 60.0)
    a.hangs = b.hangs = True
    files = [("file", (f"{number}.jpg", PHOTO, "image/jpeg")) for number in range(8)]
    with ThreadPoolExecutor(1) as somebody:
        many = somebody.submit(httpx.post, f"{both.url}/v1/models/colour/predict", files=files, timeout=30)
        eventually(lambda: a.running + b.running == 1, within_s=5)
        busy, other = (a, b) if a.running else (b, a)
        with asking(both, 6) as asked:
            eventually(lambda: busy.running + other.running == 7, within_s=5)
            assert (busy.running, other.running) == (1, 6)
            assert samples(both)["gateway_replica_in_flight", busy.address] == 1
            a.hangs = b.hangs = False
            assert statuses(asked()) == {200: 6}
        assert many.result().status_code == 200


def test_what_dies_costs_nothing_but_a_retry(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Requests in flight are sent once more, those that come later go to who is left; back again, it is used again."""
    loop = a._server._loop
    a.hangs, b.delay_s = True, 0.5  # or it would be done with two before a third is sent
    with asking(both, 4) as asked:
        eventually(lambda: (a.running, len(b.received)) == (2, 2), within_s=5)
        kill(a)
        assert statuses(asked()) == {200: 4}
    b.delay_s = 0
    assert retries(both, "backend_unavailable") == 2
    assert attempts(both, a, "backend_unavailable") == 2
    assert {both.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
    assert retries(both, "backend_unavailable") == 2
    ready = both.http.get("/health/ready")
    assert ready.status_code == 200
    assert list(ready.json()["away"]) == [a.address]
    assert a.address in ready.json()["away"][a.address]
    assert not is_up(both, a)
    assert samples(both)["gateway_triton_reachable",] == 1

    a.hangs = False
    start(a, loop)
    eventually(lambda: is_up(both, a), within_s=5)
    assert "away" not in both.http.get("/health/ready").json()
    received = len(a.received)
    assert {both.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
    assert len(a.received) == received + 2


def test_it_is_known_to_be_away_by_the_first_who_meets_it(a: Frozen, b: Frozen) -> None:
    """The next are not sent there until a look has succeeded: a retry takes time, too."""
    with before(a, b, refresh_s=60) as gateway:
        kill(a)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(8)} == {200}
        assert retries(gateway, "backend_unavailable") == 1


def test_a_hung_replica_keeps_no_request(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without power sends no word: its requests go to others when a look has got no answer, long before
    their deadline. The calls are not cancelled, their slots not used again, and they hold no permits."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.6)
    with before(a, b, permits=4) as gateway:
        a.hangs, b.delay_s = True, 0.3
        began_s = time.monotonic()
        with asking(gateway, 4) as asked:
            eventually(lambda: a.running == 2, within_s=5)
            assert statuses(asked()) == {200: 4}
        assert 0.3 < time.monotonic() - began_s < 3
        assert (retries(gateway, "backend_unavailable"), a.running, a.cancelled) == (2, 2, 0)
        assert not is_up(gateway, a)
        assert gateway.service.permits.taken == 0
        b.delay_s = 0
        [replica] = [each for each in gateway.service.predictor._replicas.members if each.address == a.address]
        assert (replica.triton.left, replica.tensors.slots) == (2, 0)
        began_s = time.monotonic()
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
        assert gateway.http.get("/v1/models").status_code == 200
        assert time.monotonic() - began_s < 0.5
        a.hangs = False
        eventually(lambda: is_up(gateway, a) and replica.load == 0, within_s=5)
        assert a.cancelled == 0


def test_who_cannot_be_helped_by_others_waits(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent replica may come back: nobody else has the model."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.2)
    b.models["colour"].state = "UNAVAILABLE"
    with before(a, b) as gateway:
        a.hangs = True
        with asking(gateway, 1) as asked:
            eventually(lambda: not is_up(gateway, a), within_s=5)
            assert a.running == 1
            a.hangs = False
            assert statuses(asked()) == {200: 1}


def test_a_busy_replica_is_not_a_silent_one(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers photos and has no time to list its models stays in use."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.8)
    with before(a, b) as gateway:
        a.listless = True
        until_s = time.monotonic() + 2.0
        while time.monotonic() < until_s:
            assert gateway.predict("colour", PHOTO).status_code == 200
            assert is_up(gateway, a)
        eventually(lambda: not is_up(gateway, a), within_s=5)  # when nobody asks, nothing is heard


def test_nobody_waits_for_one_that_is_away(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """That another has lost the model is said at once, and not after a look at a machine that is known to be silent."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.3)
    with before(a, b) as gateway:
        b.hangs = True
        eventually(lambda: not is_up(gateway, b), within_s=5)
        a.failure = "failed to load"
        began_s = time.monotonic()
        assert gateway.predict("colour", PHOTO).status_code == 503
        assert time.monotonic() - began_s < 2


def test_a_slow_list_is_no_silence(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repositories that take long to read always (in a bucket, say) leave no gateway without Tritons."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 1.0)
    a.listing_s = b.listing_s = 1.6
    with before(a, b) as gateway:
        listings = a.listings
        while a.listings < listings + 2:
            assert (is_up(gateway, a), is_up(gateway, b)) == (True, True)
            time.sleep(0.02)


@pytest.mark.anyio
async def test_a_list_that_takes_long_of_one_that_is_heard_is_waited_for() -> None:
    """Begun anew, it might never end, and what was loaded since never be known."""
    async with Frozen(models(), listing_s=0.3) as fake, TritonClient(fake.address) as triton:
        found = await listed(triton, 0.1, lambda: 30.0)
        assert found is not None
        assert [model.name for model in found] == ["colour", "spot"]
        assert fake.listings == 1


def test_silence_counts_from_the_last_word(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stops in the middle of a look, after a last answer, is found out by that look, not by the next."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.6)
    with before(a, b, refresh_s=60) as gateway, ThreadPoolExecutor(1) as somebody:
        a.listless, listings = True, a.listings
        listing = somebody.submit(httpx.get, f"{gateway.url}/v1/models")
        eventually(lambda: a.listings > listings, within_s=5)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
        a.hangs = True
        with asking(gateway, 2) as asked:
            assert statuses(asked()) == {200: 2}
        assert listing.result().status_code == 200
        assert retries(gateway, "backend_unavailable") == 1


def test_a_full_queue_sends_to_another(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """And it rests for a while: who refuses at once has always the least in flight. When all are full, 429."""
    a.failure = "queue full"
    assert {both.predict("colour", PHOTO).status_code for _ in range(10)} == {200}
    assert retries(both, "overloaded") == len(a.received) == 1
    b.failure = "queue full"
    response = both.predict("colour", PHOTO)
    assert (response.status_code, response.json()["error"]) == (429, "overloaded")
    a.failure = b.failure = None
    assert both.predict("colour", PHOTO).status_code == 200


def test_what_the_model_makes_of_it_is_not_asked_twice(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """A model that raises would do so elsewhere; nor is a photo that is none sent anywhere."""
    a.failure = b.failure = "model raised"
    assert both.predict("colour", PHOTO).status_code == 502
    assert len(a.received) + len(b.received) == 1
    assert both.predict("colour", b"text").status_code == 422
    assert len(a.received) + len(b.received) == 1
    assert [key for key in samples(both) if key[0] == "gateway_retries_total"] == []


def test_a_replica_that_fails_every_photo_gets_few(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """It fails at once, and would have the least in flight always: most requests would fail."""
    a.failure = "model raised"
    found = Counter(both.predict("colour", PHOTO).status_code for _ in range(20))
    assert found == {200: 19, 502: 1}


def test_a_deadline_is_not_begun_anew(a: Frozen, b: Frozen) -> None:
    """Whoever was too slow has had the time there was."""
    a.delay_s = b.delay_s = 1.0
    with before(a, b, deadline_s=0.4) as gateway:
        began_s = time.monotonic()
        assert gateway.predict("colour", PHOTO).status_code == 504
        assert time.monotonic() - began_s < 0.9
        assert len(a.received) + len(b.received) == 1


def test_a_model_that_only_one_has(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """All its requests go there; what differs stands with the model."""
    assert "replicas" not in both.http.get("/v1/models/colour").json()
    a.models["colour"].state, a.models["colour"].reason = "UNAVAILABLE", "unloaded"
    del b.models["spot"]
    eventually(lambda: "replicas" in both.http.get("/v1/models/colour").json(), within_s=5)
    assert {both.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
    assert {both.predict("spot", PHOTO).status_code for _ in range(6)} == {200}
    assert Counter(each.model for each in a.received) == {"spot": 6}
    assert Counter(each.model for each in b.received) == {"colour": 6}
    colour = both.http.get("/v1/models/colour").json()
    assert (colour["ready"], colour["replicas"][b.address]["ready"]) == (True, True)
    assert "clients load colour" in colour["replicas"][a.address]["problem"]
    assert both.http.get("/v1/models/spot").json()["replicas"][b.address] is None
    assert both.http.get("/health/ready").json()["models"] == {"colour": "ready", "spot": "ready"}
    assert samples(both)["gateway_models_ready",] == 2


def test_a_model_that_nobody_has_ready_says_why(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Of every replica; and a name that none knows lists what there is."""
    for fake, reason in ((a, "unloaded"), (b, "out of memory")):
        fake.models["colour"].state, fake.models["colour"].reason = "UNAVAILABLE", reason
    eventually(lambda: both.predict("colour", PHOTO).status_code == 503, within_s=5)
    detail = both.predict("colour", PHOTO).json()["detail"]
    assert "clients load colour" in detail
    assert "out of memory" in detail
    response = both.predict("color", PHOTO)
    assert (response.status_code, response.json()["error"]) == (404, "unknown_model")
    assert "the models are: colour, spot" in response.json()["detail"]


def test_a_model_unloaded_since_the_last_look_is_asked_of_another(a: Frozen, b: Frozen) -> None:
    """However long ago that was."""
    with before(a, b, refresh_s=60) as gateway:
        a.models["colour"].state, a.models["colour"].reason = "UNAVAILABLE", "unloaded"
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
        assert retries(gateway, "model_not_ready") == 1


def test_a_version_published_everywhere_since_the_last_look_fails_nothing(a: Frozen, b: Frozen) -> None:
    """Where the old one is gone all repositories are looked at again: others are no wiser by themselves."""
    contract = colour_contract().model_copy(update={"labels": ("bleu", "vert", "rouge")})
    with before(a, b, refresh_s=60) as gateway:
        assert gateway.predict("colour", PHOTO).json()["version"] == "1"
        for fake in (a, b):
            fake.models["colour"] = FakeModel(contract, version="2")
            refuse_version(fake, "1")
        for _ in range(4):
            found = gateway.predict("colour", PHOTO).json()
            assert found["version"] == "2"
            assert found["results"][0]["classes"][0]["label"] in contract.labels


def refuse_version(fake: Frozen, version: str) -> None:
    """As Triton does for one that is not served any more."""
    inferred = fake._inferred

    async def _inferred(request: Any, context: Any) -> Any:
        if request.model_version == version:
            await fake._fail("unknown version", context)
        return await inferred(request, context)

    fake._inferred = _inferred  # type: ignore[method-assign]


def test_versions_side_by_side(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """While a new one is loaded by each in turn any may answer, and says which; who names one gets that one."""
    b.models["colour"].version = "2"
    eventually(lambda: "replicas" in both.http.get("/v1/models/colour").json(), within_s=5)
    found = Counter(both.predict("colour", PHOTO).json()["version"] for _ in range(8))
    assert found == {"1": 4, "2": 4}
    assert both.http.get("/v1/models/colour").json()["version"] == "2"
    image = triton_grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([PHOTO], object))
    with triton_grpc.InferenceServerClient(both.grpc) as client:
        for version in ("1", "2", "2", "1", "1"):
            answered = client.infer("colour", [image], model_version=version)
            assert answered.get_response().model_version == version
            assert client.is_model_ready("colour", version)
        assert not client.is_model_ready("colour", "3")
        with pytest.raises(Exception, match="is served in version 1 and 2, not '3'"):
            client.infer("colour", [image], model_version="3")
        assert list(client.get_model_metadata("colour").versions) == ["1", "2"]
    assert {each.version for each in a.received} == {"1"}
    assert {each.version for each in b.received} == {"2"}
    assert both.http.get("/v2/models/colour/versions/2/ready").status_code == 200
    assert both.http.get("/v2/models/colour/versions/3/ready").status_code == 404


def test_a_request_that_names_a_version_is_not_answered_by_another(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Nor when the only replica that has it fails."""
    b.models["colour"].version = "2"
    eventually(lambda: "replicas" in both.http.get("/v1/models/colour").json(), within_s=5)
    b.failure = "queue full"
    content = len(PHOTO).to_bytes(4, "little") + PHOTO
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [image]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    response = both.http.post("/v2/models/colour/versions/2/infer", content=head + content, headers=headers)
    assert response.status_code == 429
    assert "Exceeds maximum queue size" in response.json()["error"]
    assert a.received == []


def test_frames_of_a_stream_go_to_any(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Each by itself: a camera does not stay with a replica, nor lose a frame to one that dies."""
    with streaming(both.url, "colour", "frames=every") as stream:
        for number in range(12):
            if number == 6:
                kill(a)
            stream.send(PHOTO)
            assert "results" in answer(stream)
    assert (len(a.received), len(b.received)) == (3, 9)


def test_a_gateway_starts_with_some_away(a: Frozen, b: Frozen) -> None:
    """It is ready, and says who is not there; of all away it says why."""
    kill(a)
    with running_gateway(f"{a.address},{b.address}") as gateway:
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
        assert list(gateway.http.get("/health/ready").json()["away"]) == [a.address]
        kill(b)
        eventually(lambda: gateway.http.get("/health/ready").status_code == 503, within_s=5)
        for response in (gateway.http.get("/health/ready"), gateway.predict("colour", PHOTO)):
            assert (response.status_code, response.json()["error"]) == (503, "backend_unavailable")
            assert a.address in response.json()["detail"]
            assert b.address in response.json()["detail"]
        assert [each["name"] for each in gateway.http.get("/v1/models").json()["models"]] == ["colour", "spot"]


def test_a_slow_or_hung_replica_delays_no_look_at_others(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another has is there as soon as without it."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 20.0)
    with before(a, b) as gateway:
        a.listless = True
        b.models["new"] = FakeModel(colour_contract())
        began_s = time.monotonic()
        eventually(lambda: gateway.predict("new", PHOTO).status_code == 200, within_s=5)
        names = [each["name"] for each in gateway.http.get("/v1/models").json()["models"]]
        assert names == ["colour", "new", "spot"]
        assert time.monotonic() - began_s < 2


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the gateway's DNS answers; nothing is a failure."""
    found: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        assert host == "triton"
        if not found:
            raise OSError(-2, "Name or service not known")
        return list(found)

    monkeypatch.setattr("gateway.service.Addresses", functools.partial(Addresses, resolver=resolve))
    monkeypatch.setattr("gateway.replicas.LOOKUP_S", 0.05)
    return found


@pytest.fixture
def one_port() -> Iterator[tuple[Frozen, Frozen]]:
    """Two fakes on different addresses of this machine, and the same port, as the pods of a service are."""
    with running(Frozen(models())) as first, running(Frozen(models(), host="127.0.0.2", port=first.port)) as second:
        yield first, second


def test_addresses_come_and_go(
    dns: list[str], one_port: tuple[Frozen, Frozen], caplog: pytest.LogCaptureFixture
) -> None:
    """One that comes is used once it has been looked at; one that goes gets nothing more and ends what it has; its
    series go with it; a DNS that fails changes nothing."""
    first, second = one_port
    dns.append(first.host)
    with caplog.at_level(logging.INFO), running_gateway(f"dns:///triton:{first.port}") as gateway:
        assert gateway.predict("colour", PHOTO).status_code == 200
        dns.append(second.host)
        eventually(lambda: is_up(gateway, second), within_s=5)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
        assert (len(first.received), len(second.received)) == (3, 2)

        first.hangs = True
        with asking(gateway, 2) as asked:
            eventually(lambda: first.running == 1, within_s=5)
            dns.remove(first.host)
            eventually(lambda: "is not among the addresses any more" in caplog.text, within_s=5)
            before_s = len(first.received)
            assert {gateway.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
            assert len(first.received) == before_s
            assert attempts(gateway, first) == 3
            first.hangs = False
            assert statuses(asked()) == {200: 2}
        eventually(lambda: first.address not in gateway.http.get("/metrics").text, within_s=5)
        dns.clear()
        eventually(lambda: "cannot be looked up" in caplog.text, within_s=5)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
        dns.extend([first.host, second.host])
        eventually(lambda: is_up(gateway, first), within_s=5)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
        assert attempts(gateway, first) == 2


def test_one_that_is_back_before_it_was_done_is_the_same(dns: list[str], one_port: tuple[Frozen, Frozen]) -> None:
    """Its connection, its slots and its counts stay."""
    first, second = one_port
    dns.extend([first.host, second.host])
    with running_gateway(f"dns:///triton:{first.port}") as gateway:
        eventually(lambda: is_up(gateway, first) and is_up(gateway, second), within_s=5)
        replicas = gateway.service.predictor._replicas
        [kept] = [replica for replica in replicas.members if replica.address == first.address]
        first.delay_s = 1.0
        with asking(gateway, 2) as asked:
            eventually(lambda: first.running == 1, within_s=5)
            dns.remove(first.host)
            eventually(lambda: len(replicas.members) == 1, within_s=5)
            dns.append(first.host)
            eventually(lambda: kept in replicas.members, within_s=5)
            assert statuses(asked()) == {200: 2}


def test_who_waits_for_one_that_goes_is_helped_by_another(dns: list[str], one_port: tuple[Frozen, Frozen]) -> None:
    """Its connection is closed, with the look in it that a request waits for: whoever came instead is asked."""
    first, second = one_port
    dns.append(first.host)
    first.models["colour"].state = "UNAVAILABLE"
    with running_gateway(f"dns:///triton:{first.port}") as gateway:
        first.listless = True
        with asking(gateway, 4) as asked:
            eventually(lambda: gateway.service.permits.taken == 4, within_s=5)
            dns[:] = [second.host]
            assert statuses(asked()) == {200: 4}
        assert len(second.received) == 4
        assert gateway.http.get("/v1/models/colour").status_code == 200


@pytest.mark.anyio
async def test_a_model_of_one_that_has_just_gone_is_told() -> None:
    """Who asked for it waited for its replica, which left the DNS in that moment."""
    async with FakeTriton(models()) as fake, TritonClient(fake.address) as triton:
        member = SimpleNamespace(address=fake.address, catalogue=Catalogue(triton, refresh_s=60))
        there = SimpleNamespace(members=[member], nobody="nobody is there")
        asked = asyncio.create_task(Catalogues(there).model("colour"))
        await asyncio.sleep(0)
        there.members = []
        assert (await asked).name == "colour"


@pytest.mark.anyio
async def test_who_is_cut_off_by_this_side_is_not_cancelled() -> None:
    """A cancellation that nobody asked for would be no error that is known, and end whoever waits."""
    async with FakeTriton(models(), look_s=60) as fake, TritonClient(fake.address) as triton:
        asked = asyncio.create_task(triton.counters("colour", "1"))
        while not fake.looks_s:  # noqa: ASYNC110 - the fake counts, and tells nobody
            await asyncio.sleep(0.001)
        await triton.close()
        with pytest.raises(BackendUnavailable, match="closed on this side"):
            await asked


def test_a_dns_that_never_says_the_same_fails_nothing(dns: list[str], one_port: tuple[Frozen, Frozen]) -> None:
    """Each time another address: each request is answered, and nothing is left of those who went."""
    first, second = one_port
    dns.append(first.host)
    with running_gateway(f"dns:///triton:{first.port}") as gateway:
        replicas = gateway.service.predictor._replicas
        assert gateway.predict("colour", PHOTO).status_code == 200
        for number in range(10):
            dns[:] = [(second, first)[number % 2].host]
            with asking(gateway, 4) as asked:
                assert statuses(asked()) == {200: 4}
            eventually(lambda: [each.address.split(":")[0] for each in replicas.members] == dns, within_s=5)
        eventually(lambda: replicas.all == list(replicas.members) and not replicas._last_acts, within_s=5)


def test_a_name_that_is_not_there_yet(dns: list[str], a: Frozen) -> None:
    """The gateway starts, says what it waits for, and serves when it is there."""
    with running_gateway(f"dns:///triton:{a.port}") as gateway:
        response = gateway.predict("colour", PHOTO)
        assert (response.status_code, response.json()["error"]) == (503, "backend_unavailable")
        assert f"dns:///triton:{a.port} cannot be looked up" in response.json()["detail"]
        assert gateway.http.get("/health/ready").status_code == 503
        assert gateway.http.get("/v1/models").json() == {"models": []}
        dns.append("127.0.0.1")
        eventually(lambda: gateway.predict("colour", PHOTO).status_code == 200, within_s=5)


def test_a_lookup_that_goes_wrong_is_not_the_last(
    dns: list[str], a: Frozen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it was: the name is looked up again and again."""
    look = Addresses.look

    async def broken(addresses: Addresses) -> None:
        raise RuntimeError("in the resolver")

    monkeypatch.setattr(Addresses, "look", broken)
    with running_gateway(f"dns:///triton:{a.port}") as gateway:
        assert gateway.predict("colour", PHOTO).status_code == 503
        assert "looking up the Tritons failed" in caplog.text
        dns.append("127.0.0.1")
        monkeypatch.setattr(Addresses, "look", look)
        eventually(lambda: gateway.predict("colour", PHOTO).status_code == 200, within_s=5)


def test_localhost_is_a_name(a: Frozen) -> None:
    """By the machine's own resolver, which may have it in IPv6 as well, where nobody listens here."""
    with running_gateway(f"dns:///localhost:{a.port}") as gateway:
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(3)} == {200}
        assert attempts(gateway, a) == 3


@pytest.mark.anyio
async def test_gateways_do_not_all_begin_with_the_same_replica() -> None:
    """Many that start together would else send their first requests to one."""
    async with FakeTriton(models()) as first, FakeTriton(models()) as second:
        with ThreadPoolExecutor(1) as threads:
            equipment = Equipment(threads, exact, 60.0, shared_memory=False, slots=0, sent=lambda model, way: None)
            begun: Counter[str] = Counter()
            for _ in range(24):
                addresses = Addresses(f"{first.address},{second.address}")
                replicas = Replicas(addresses, equipment, ReplicaMetrics(Exposition()))
                await replicas.open()
                choice = replicas._least(replicas.members, "colour", "")
                assert choice is not None
                begun[choice.replica.address] += 1
                await replicas.close()
    assert len(begun) == 2


@pytest.mark.anyio
async def test_who_was_chosen_may_go_in_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had the model ready when it was looked up, and has left the DNS: who is there now is asked."""
    async with FakeTriton(models()) as first, FakeTriton(models()) as second:
        with ThreadPoolExecutor(1) as threads:
            equipment = Equipment(threads, exact, 60.0, shared_memory=False, slots=0, sent=lambda model, way: None)
            replicas = Replicas(Addresses(first.address), equipment, ReplicaMetrics(Exposition()))
            await replicas.open()
            looked_up = replicas.catalogue.servable

            async def servable(name: str, version: str = "") -> Servable:
                found = await looked_up(name, version)
                replicas._take([second.address])
                return found

            monkeypatch.setattr(replicas.catalogue, "servable", servable)
            choice = await replicas._chosen("colour", "")
            assert choice.replica.address == second.address
            await replicas.close()


def test_workers_sum_up(a: Frozen, b: Frozen) -> None:
    """Counters and what is in flight are sums over all workers; a replica is up where it is for each of them."""
    with process(triton=f"{a.address},{b.address}", workers=2, refresh_s=0.1) as (started, url), ExitStack() as stack:
        eventually(lambda: answers(url), within_s=30)
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=20)) for _ in range(4)]
        eventually(lambda: metric(url, "gateway_workers") == 2, within_s=30)
        for _ in range(5):
            for client in clients:
                headers = {"content-type": "image/jpeg"}
                assert client.post("/v1/models/colour/predict", content=PHOTO, headers=headers).status_code == 200
        assert metric(url, "gateway_replica_requests_total") == len(a.received) + len(b.received) == 20
        assert abs(len(a.received) - len(b.received)) <= 2  # each worker has turns of its own
        for fake in (a, b):
            assert metric(url, f'gateway_replica_up{{replica="{fake.address}"}}') == 1
        kill(a)
        eventually(lambda: metric(url, f'gateway_replica_up{{replica="{a.address}"}}') == 0, within_s=5)
        assert metric(url, "gateway_replica_in_flight") == 0
        started.terminate()
        started.communicate(timeout=20)


def metric(url: str, begins: str) -> float:
    """The sum of the series whose line begins so."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(begins))


def test_series_of_several_processes_go_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Files keep them; they are not shown: addresses that a DNS makes up are no series for ever."""
    code = """
import sys
from gateway.exposition import Exposition, count_as
from gateway.replica_metrics import ReplicaMetrics
from types import SimpleNamespace as Replica
count_as(0)
there = [Replica(address="a:1", is_up=True, requests=1), Replica(address="b:1", is_up=True, requests=2)]
exposition = Exposition()
metrics = ReplicaMetrics(exposition)
metrics.watch(lambda: there)
for each in there:
    metrics.answered(each.address, "ok")
both = exposition.text().decode()
del there[0]
metrics.forget("a:1")
one = exposition.text().decode()
sys.exit(not (both.count('"a:1"') == both.count('"b:1"') == one.count('"b:1"') == 3 and '"a:1"' not in one))
"""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
