"""Tritons that come and go."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from clients.triton.client import TritonClient
from gateway.addresses import Addresses
from gateway.catalogue import Catalogue
from gateway.catalogues import Catalogues
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.replicas.fakes import (
    PHOTO,
    Frozen,
    asking,
    attempts,
    before,
    is_up,
    kill,
    models,
    statuses,
)
from tests.gateway.serving import eventually, running_gateway
from tests.tiny_models import colour_contract
from vision.errors import BackendUnavailable


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
        eventually(lambda: gateway.predict("new", PHOTO).status_code == 200, within_s=4)
        names = [each["name"] for each in gateway.http.get("/v1/models").json()["models"]]
        assert names == ["colour", "new", "spot"]
        assert is_up(gateway, a)  # the look at it has not come to its end


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
        first.hangs = True
        with asking(gateway, 2) as asked:
            eventually(lambda: first.running == 1, within_s=5)
            dns.remove(first.host)
            eventually(lambda: len(replicas.members) == 1, within_s=5)
            dns.append(first.host)
            eventually(lambda: kept in replicas.members, within_s=5)
            first.hangs = False
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
        eventually(lambda: is_up(gateway, a), within_s=20)  # its start waits only for a resolver that is quick
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(3)} == {200}
        assert attempts(gateway, a) == 3
