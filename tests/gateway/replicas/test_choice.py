"""Who of several Tritons is asked."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gateway.addresses import Addresses
from gateway.exposition import Exposition
from gateway.replica import Equipment
from gateway.replica_metrics import ReplicaMetrics
from gateway.replicas import Replicas
from gateway.servable import Servable
from tests.fake_triton import FakeTriton
from tests.gateway.replicas.fakes import PHOTO, Frozen, asking, attempts, before, is_up, kill, models, statuses
from tests.gateway.serving import RunningGateway, eventually, running, samples
from vision.decode import exact


def test_one_user_is_served_in_turns(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Of replicas that have as little to do, each has its turn."""
    for _ in range(10):
        assert both.predict("colour", PHOTO).status_code == 200
    assert (len(a.received), len(b.received)) == (5, 5)
    assert (attempts(both, a), attempts(both, b)) == (5, 5)


def test_whoever_has_the_least_in_flight_is_asked(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """A slower machine has its requests for longer, and so gets fewer: nobody has to say how fast each is."""
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


def test_a_request_weighs_as_much_as_its_photos(both: RunningGateway, a: Frozen, b: Frozen) -> None:
    """Eight photos are work for longer than one: others do not queue behind them while another replica has less."""
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
