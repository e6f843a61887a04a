"""A Triton that says nothing: stopped, or only busy."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from clients.triton.client import TritonClient
from gateway.listing import LONG_LOOKS, TURN_S, listed
from gateway.preparation import Batch, prepared_batches
from tests.gateway.replicas.fakes import PHOTO, Frozen, asking, before, is_up, models, retries, statuses
from tests.gateway.serving import eventually
from vision.errors import BackendUnavailable


def test_a_hung_replica_keeps_no_request(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without power sends no word: its requests go to others when a look has got no answer, long before
    their deadline. The calls are not cancelled, their slots not used again, and they hold no permits."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.6)
    monkeypatch.setattr("gateway.catalogues.PROMPT_S", 60.0)
    with before(a, b, permits=4) as gateway:
        a.hangs = b.hangs = True
        with asking(gateway, 4) as asked:
            eventually(lambda: (a.running, b.running) == (2, 2), within_s=5)
            began_s, a.frozen = time.monotonic(), True
            b.hangs = False
            assert statuses(asked()) == {200: 4}
        assert 0.3 < time.monotonic() - began_s < gateway.service.settings.deadline_s
        assert (retries(gateway, "backend_unavailable"), a.running, a.cancelled) == (2, 2, 0)
        assert not is_up(gateway, a)
        assert gateway.service.permits.taken == 0
        [replica] = [each for each in gateway.service.predictor._replicas.members if each.address == a.address]
        assert (replica.triton.left, replica.tensors.slots) == (2, 0)
        began_s = time.monotonic()
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(6)} == {200}
        assert gateway.http.get("/v1/models").status_code == 200
        assert time.monotonic() - began_s < 4  # a look at who is away takes longer
        assert (len(a.received), retries(gateway, "backend_unavailable")) == (2, 2)
        a.frozen = False
        eventually(lambda: is_up(gateway, a) and replica.load == 0, within_s=5)
        assert a.cancelled == 0


def test_who_cannot_be_helped_by_others_waits(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent replica may come back: nobody else has the model."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 0.6)
    b.models["colour"].state = "UNAVAILABLE"
    with before(a, b) as gateway:
        a.hangs = True
        with asking(gateway, 1) as asked:
            eventually(lambda: a.running == 1, within_s=5)
            a.frozen = True
            eventually(lambda: not is_up(gateway, a), within_s=5)
            assert a.running == 1
            a.frozen = False
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
        b.frozen = True
        eventually(lambda: not is_up(gateway, b), within_s=5)
        a.failure = "failed to load"
        began_s = time.monotonic()
        assert gateway.predict("colour", PHOTO).status_code == 503
        assert time.monotonic() - began_s < 4  # a look at who is away takes longer


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
async def test_a_look_ends_by_its_own_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by other calls' deadline, which passes while this process stands still, and ends lists that take long."""
    monkeypatch.setattr("clients.triton.client.CONTROL_TIMEOUT_S", 0.1)
    async with Frozen(models(), listing_s=0.5) as fake, TritonClient(fake.address) as triton:
        with pytest.raises(BackendUnavailable):
            await triton.models()
        found = await listed(triton, 5.0, lambda: 0.0, lambda: None)
        assert found is not None
        assert [model.name for model in found] == ["colour", "spot"]


@pytest.mark.anyio
async def test_a_list_that_takes_long_of_one_that_is_heard_is_waited_for() -> None:
    """Begun anew, it might never end, and what was loaded since never be known."""
    async with Frozen(models(), listing_s=0.5) as fake, TritonClient(fake.address) as triton:
        found = await listed(triton, 0.3, time.monotonic, never)
        assert found is not None
        assert [model.name for model in found] == ["colour", "spot"]
        assert fake.listings == 1


@pytest.mark.anyio
async def test_a_look_waits_for_the_end_of_a_silence() -> None:
    """However often Triton has answered other things before: the next look would begin with the silence anew."""
    heard, silent = 20, 0

    def heard_s() -> float:
        nonlocal heard
        heard -= heard > 0
        return -heard

    def fallen_silent() -> None:
        nonlocal silent
        silent += 1

    async with Frozen(models(), listless=True) as fake, TritonClient(fake.address) as triton:
        began_s = time.monotonic()
        with pytest.raises(BackendUnavailable, match=r"did not list its models within 0\.5 s"):
            await listed(triton, 0.5, heard_s, fallen_silent)
        assert time.monotonic() - began_s > 20 * TURN_S + 0.4
        assert (fake.listings, silent) == (1, 1)


@pytest.mark.anyio
async def test_who_stood_still_itself_takes_nobody_for_silent() -> None:
    """As a virtual machine does, whose host is busy: all Tritons would be lost at once, and requests refused."""
    async with Frozen(models(), listing_s=0.2) as fake, TritonClient(fake.address) as triton:
        await triton.live()
        for after_s in (0.0, 0.1, 0.25):
            asyncio.get_running_loop().call_later(after_s, time.sleep, 0.8)
            assert await listed(triton, 0.6, lambda: 0.0, never) is not None


@pytest.mark.anyio
async def test_a_list_that_never_comes_is_asked_for_again_some_time() -> None:
    """Of a Triton that always answers something else: whoever waits for the look is told what was known before."""
    async with Frozen(models(), listless=True) as fake, TritonClient(fake.address) as triton:
        began_s = time.monotonic()
        assert await listed(triton, 0.1, time.monotonic, never) is None
        assert time.monotonic() - began_s > LONG_LOOKS * 0.1


def never() -> None:
    raise AssertionError("it is not silent")


def test_nothing_is_sent_to_one_that_was_lost_meanwhile(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its photos were being decoded when the replica was lost: they go to the other, not into the silence."""
    with before(a, b, refresh_s=60) as gateway:
        a.frozen = True
        [lost] = [each for each in gateway.service.predictor._replicas.members if each.address == a.address]
        chosen = asyncio.Barrier(2)

        async def prepared(*args: Any, **settings: Any) -> list[Batch]:
            if lost.is_up:
                await chosen.wait()  # one is here for each of them
                lost.catalogue.lose(BackendUnavailable("it is silent"))
            return await prepared_batches(*args, **settings)

        monkeypatch.setattr("gateway.predictor.prepared_batches", prepared)
        with asking(gateway, 2) as asked:
            assert statuses(asked()) == {200: 2}
        assert (len(a.received), a.running, retries(gateway, "backend_unavailable")) == (0, 0, 1)


def test_silence_counts_from_the_last_word(a: Frozen, b: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stops in the middle of a look, after a last answer, is found out by that look, not by the next."""
    monkeypatch.setattr("gateway.replica.SILENCE_S", 1.2)
    with before(a, b, refresh_s=60) as gateway, ThreadPoolExecutor(1) as somebody:
        a.listless, listings = True, a.listings
        listing = somebody.submit(httpx.get, f"{gateway.url}/v1/models")
        eventually(lambda: a.listings > listings, within_s=5)
        assert {gateway.predict("colour", PHOTO).status_code for _ in range(4)} == {200}
        a.hangs = True  # it lists nothing either
        with asking(gateway, 2) as asked:
            assert statuses(asked()) == {200: 2}
        assert listing.result().status_code == 200
        assert retries(gateway, "backend_unavailable") == 1
