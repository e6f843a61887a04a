"""What Triton took of a call, by its own account."""

import time
from itertools import pairwise

import pytest

from clients.triton.counters import Counters
from tests.fake_triton import FakeTriton
from tests.gateway.phases import OF_TRITON, phases_ms
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.gateway.streams import until_still
from vision.errors import InvalidArgument

PHOTO = encoded(40, 40)


def asked(gateway: RunningGateway, **more: str) -> dict[str, float]:
    response = gateway.predict("colour", PHOTO, **more)
    assert response.status_code == 200
    return phases_ms(response)


def test_calls_are_divided_by_the_means_of_late(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for Triton to tell: the first request goes without, and what changes is followed."""
    monkeypatch.setattr("gateway.statistics.LOOK_S", 0.1)
    with running_gateway(fake.address) as faked:
        fake.delay_s, fake.queue_s, fake.compute_s = 0.03, 0.004, 0.02
        assert OF_TRITON.isdisjoint(asked(faked))
        eventually(lambda: asked(faked).keys() >= OF_TRITON, within_s=5)
        spent_ms = asked(faked)
        assert (spent_ms["queue"], spent_ms["compute"]) == pytest.approx((4, 20), abs=0.01)
        assert spent_ms["transport"] >= 30 - 24
        fake.queue_s = 0.008
        eventually(lambda: asked(faked)["queue"] == pytest.approx(8, abs=0.01), within_s=5)


@pytest.mark.usefixtures("patient")
def test_a_call_never_took_triton_longer_than_the_gateway(faked: RunningGateway, fake: FakeTriton) -> None:
    """The mean of others may be longer."""
    fake.queue_s, fake.compute_s = 10, 30
    spent_ms = asked(faked, x_timings="exact")
    assert spent_ms["transport"] == 0
    assert spent_ms["compute"] == pytest.approx(3 * spent_ms["queue"], rel=0.05, abs=0.01)
    assert sum(spent_ms.values()) == pytest.approx(2 * spent_ms["total"], rel=0.03)


@pytest.mark.usefixtures("patient")
def test_who_wants_its_own_times_gets_them(faked: RunningGateway, fake: FakeTriton) -> None:
    """Those of this very request, as the only one that was counted since the last look; and it is told so."""
    fake.delay_s = 0.02
    for queue_s in (0.001, 0.005, 0.003):
        fake.queue_s = queue_s
        response = faked.predict("colour", PHOTO, x_timings="exact")
        assert response.headers["x-timings"] == "exact"
        assert phases_ms(response)["queue"] == pytest.approx(queue_s * 1e3, abs=0.001)
    assert "x-timings" not in faked.predict("colour", PHOTO).headers


@pytest.mark.usefixtures("patient")
def test_requests_of_others_make_a_mean(faked: RunningGateway, fake: FakeTriton) -> None:
    """Triton counts them together: what it tells is theirs, too, and the answer says that."""
    asked(faked, x_timings="exact")
    fake.delay_s, fake.queue_s = 0.02, 0.004
    counted = fake.counted["colour"]
    counted.success.count += 1  # by somebody else, without waiting
    response = faked.predict("colour", PHOTO, x_timings="exact")
    assert response.headers["x-timings"] == "mean"
    assert phases_ms(response)["queue"] == pytest.approx(2, abs=0.001)


@pytest.mark.usefixtures("patient")
def test_asking_triton_is_in_no_phase(faked: RunningGateway, fake: FakeTriton) -> None:
    """Nor in the total: without the wish nobody would wait for it."""
    fake.look_s = 0.1
    began_s = time.perf_counter()
    spent_ms = asked(faked, x_timings="exact")
    assert (time.perf_counter() - began_s) * 1e3 - spent_ms["total"] > 100
    assert spent_ms.keys() >= OF_TRITON


@pytest.mark.parametrize("more", [{}, {"x_timings": "exact"}])
def test_a_triton_that_does_not_tell_fails_nothing(fake: FakeTriton, more: dict[str, str]) -> None:
    """Calls are left undivided then."""
    fake.look_s = 30
    with running_gateway(fake.address, deadline_s=60) as gateway:
        began_s = time.perf_counter()
        assert OF_TRITON.isdisjoint(asked(gateway, **more))
        assert time.perf_counter() - began_s < 20  # until the half of its deadline it would be thirty
        fake.look_failure = "model raised"
        response = gateway.predict("colour", PHOTO, **more)
        assert response.status_code == 200
        assert response.headers.get("x-timings", "mean") == "mean"


def test_asking_triton_takes_no_request_past_its_deadline(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is there: it is given, without the figures."""
    monkeypatch.setattr("gateway.statistics.EXACT_S", 10)
    fake.look_s = 30
    with running_gateway(fake.address, deadline_s=5) as gateway:
        assert OF_TRITON.isdisjoint(asked(gateway, x_timings="exact"))


def test_triton_is_asked_once_in_a_while_and_only_about_traffic(
    fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many requests there are; and not when there are none."""
    monkeypatch.setattr("gateway.statistics.LOOK_S", 0.3)
    with running_gateway(fake.address) as gateway:
        eventually(lambda: asked(gateway) and len(fake.looks_s) >= 3, within_s=20)
        until_still(lambda: len(fake.looks_s), lambda: gateway.http.get("/health/live"))
        assert len(fake.looks_s) <= 4 < len(fake.received)  # one for what came after the third
        assert all(after - before > 0.15 for before, after in pairwise(fake.looks_s))


def test_another_wish_is_refused(faked: RunningGateway) -> None:
    """A misspelt one would be taken for granted."""
    response = faked.predict("colour", PHOTO, x_timings="precise")
    assert (response.status_code, response.json()["error"]) == (422, InvalidArgument.kind)
    assert "it may be exact" in response.json()["detail"]


def test_a_model_that_was_loaded_again_is_counted_anew() -> None:
    """Its counters begin at nothing."""
    before = Counters(10, 1.0, 5.0)
    assert Counters(12, 1.5, 6.0).since(before) == Counters(2, 0.5, 1.0)
    assert Counters(3, 0.3, 0.9).since(before) == Counters(3, 0.3, 0.9)
