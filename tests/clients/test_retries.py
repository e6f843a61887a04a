"""What is tried again, after what pause, and that all of it ends in time. The same for both clients."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from clients import AsyncGatewayClient, GatewayClient, Result
from clients.retries import FIRST_PAUSE_S, LONGEST_PAUSE_S, Retries
from tests.clients.proxy import Mode, Proxy, running_proxy
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    DeadlineExceeded,
    InvalidImage,
    JetserveError,
    Overloaded,
    UnknownModel,
)

PHOTO = encoded(32, 32, (0, 0, 255), ".png")
SLACK_S = 5.0
"""On a machine with other things to do."""


class Predict(Protocol):
    def __call__(self, url: str, photo: bytes = PHOTO, model: str = "colour", **settings: Any) -> Result: ...


def with_one_client(url: str, photo: bytes = PHOTO, model: str = "colour", **settings: Any) -> Result:
    with GatewayClient(url, **settings) as client:
        return client.predict(photo, model)


def with_the_other(url: str, photo: bytes = PHOTO, model: str = "colour", **settings: Any) -> Result:
    async def predict() -> Result:
        async with AsyncGatewayClient(url, **settings) as client:
            return await client.predict(photo, model)

    return asyncio.run(predict())


@pytest.fixture(params=[with_one_client, with_the_other], ids=["sync", "async"])
def predict(request: pytest.FixtureRequest) -> Predict:
    chosen: Predict = request.param
    return chosen


@pytest.fixture
def proxy(gateway: RunningGateway) -> Iterator[Proxy]:
    with running_proxy(int(gateway.url.rpartition(":")[2])) as proxy:
        yield proxy


@contextmanager
def recovering(proxy: Proxy, when: Callable[[], object]) -> Iterator[None]:
    """The proxy passes again as soon as `when` holds."""

    def recover() -> None:
        eventually(when, within_s=10)
        proxy.mode = "pass"

    thread = threading.Thread(target=recover)
    thread.start()
    yield
    thread.join()


@contextmanager
def within(least_s: float, most_s: float) -> Iterator[None]:
    began_s = time.monotonic()
    yield
    assert least_s <= time.monotonic() - began_s < most_s + SLACK_S


@pytest.mark.parametrize("mode", ["cut", "busy"])
def test_what_passes_is_met_by_another_attempt(predict: Predict, proxy: Proxy, mode: Mode) -> None:
    """A connection that breaks in mid-answer, and a 503: the caller notices nothing but the time."""
    proxy.mode, proxy.retry_after = mode, "0.2"
    with recovering(proxy, lambda: proxy.connections > 1):
        assert predict(proxy.url, retries=20).classes is not None
    assert proxy.connections > 1


def test_a_gateway_that_is_started_meanwhile_is_found(predict: Predict, proxy: Proxy) -> None:
    """Nobody listens, then somebody does."""
    proxy.mode = "refuse"
    began_s = time.monotonic()
    with recovering(proxy, lambda: time.monotonic() > began_s + 0.3):
        assert predict(proxy.url, retries=20).classes is not None


@pytest.mark.parametrize(("mode", "error"), [("cut", BackendUnavailable), ("busy", BackendUnavailable)])
@pytest.mark.parametrize("retries", [0, 2])
def test_there_are_so_many_attempts_and_no_more(
    predict: Predict, proxy: Proxy, mode: Mode, error: type[JetserveError], retries: int
) -> None:
    """The first and its retries; the last failure is raised."""
    proxy.mode, proxy.retry_after = mode, "0"
    with pytest.raises(error):
        predict(proxy.url, retries=retries)
    assert proxy.connections == retries + 1


def test_what_the_server_asks_for_is_waited(predict: Predict, proxy: Proxy) -> None:
    """No attempt comes before `Retry-After`."""
    proxy.mode, proxy.retry_after = "busy", "0.6"
    with within(0.6, 0.6 + FIRST_PAUSE_S), pytest.raises(BackendUnavailable, match="the answer is 503"):
        predict(proxy.url, retries=1)


def test_a_pause_that_would_outlast_the_call_is_not_begun(predict: Predict, proxy: Proxy) -> None:
    """The failure is told at once: who waits longer would hear the same, later."""
    proxy.mode, proxy.retry_after = "busy", "60"
    with within(0, 0), pytest.raises(BackendUnavailable):
        predict(proxy.url, timeout_s=20, retries=5)
    assert proxy.connections == 1


@pytest.mark.parametrize("mode", ["swallow", "drip"])
def test_nothing_lasts_longer_than_the_deadline(predict: Predict, proxy: Proxy, mode: Mode) -> None:
    """Neither silence nor an answer that never ends, a byte at a time."""
    proxy.mode = mode
    with within(0.5, 0.5), pytest.raises(DeadlineExceeded, match=r"within 0\.5 s"):
        predict(proxy.url, timeout_s=0.5)


def test_the_deadline_covers_all_attempts(predict: Predict, proxy: Proxy) -> None:
    """However many there may be."""
    proxy.mode = "refuse"
    with within(0, 0.5), pytest.raises((BackendUnavailable, DeadlineExceeded)):
        predict(proxy.url, timeout_s=0.5, retries=1000)


def test_what_would_fail_again_is_sent_once(predict: Predict, gateway: RunningGateway, fake: FakeTriton) -> None:
    """A model that breaks (502) is not broken again, and an answer that took too long (504) would again."""
    fake.received.clear()
    fake.failure = "model raised"
    try:
        with pytest.raises(BackendFailure):
            predict(gateway.url, retries=5)
    finally:
        fake.failure = None
    assert len(fake.received) == 1
    with running_gateway(fake.address, deadline_s=1.0) as hasty:
        fake.received.clear()
        fake.hangs = True
        try:
            with pytest.raises(DeadlineExceeded):
                predict(hasty.url, retries=5)
        finally:
            fake.hangs = False
        assert len(fake.received) <= 1  # none where the machine stood still until the second was over


def test_a_wrong_request_is_sent_once(predict: Predict, gateway: RunningGateway) -> None:
    """4xx other than 429: it is told at once, with no pause."""
    with within(0, 0):
        for photo, model, error in ((PHOTO, "none", UnknownModel), (b"text", "colour", InvalidImage)):
            with pytest.raises(error):
                predict(gateway.url, photo, model, retries=50)


def test_a_full_queue_is_asked_again(predict: Predict, gateway: RunningGateway, fake: FakeTriton) -> None:
    """429, after the second that the gateway asks for."""
    fake.received.clear()
    fake.failure = "queue full"
    try:
        with within(1, 1 + FIRST_PAUSE_S), pytest.raises(Overloaded):
            predict(gateway.url, retries=1)
    finally:
        fake.failure = None
    assert len(fake.received) == 2


def test_asking_whether_it_is_ready_is_one_question(proxy: Proxy) -> None:
    """Who asks wants to know how it is now."""
    proxy.mode, proxy.retry_after = "busy", "5"
    with GatewayClient(proxy.url, retries=5) as client, within(0, 0):
        assert not client.ready()
    assert proxy.connections == 1


def test_pauses_grow_and_differ() -> None:
    """Anything up to a bound that doubles, on top of what was asked for; so many callers do not come back at once."""
    retries = Retries(100)
    for attempt, bound_s in ((0, FIRST_PAUSE_S), (3, 8 * FIRST_PAUSE_S), (50, LONGEST_PAUSE_S)):
        pauses = [retries.pause_s(attempt, 2.0, 60) or 0.0 for _ in range(500)]
        assert min(pauses) >= 2.0
        assert max(pauses) <= 2.0 + bound_s
        assert max(pauses) - min(pauses) > 0.9 * bound_s
    assert Retries(1).pause_s(1, 0.0, 60) is None
    assert retries.pause_s(0, 2.0, 2.0) is None
