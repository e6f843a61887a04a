"""What goes wrong in mid-stream: the client says what happened and goes on, or gives up in time."""

import asyncio
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, closing
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clients import AsyncGatewayClient, GatewayClient, StreamResult
from clients.photos import Photo
from tests.clients.proxy import Mode, Proxy, running_proxy
from tests.clients.test_stream import blue_of, threads
from tests.clients.test_watch import sigint_not_ignored
from tests.clients.videos import shade
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import colour_contract, colour_graph, write_model
from vision.errors import BackendUnavailable, CapacityError, DeadlineExceeded, JetserveError

FRAMES = 30


@pytest.fixture
def proxy(gateway: RunningGateway) -> Iterator[Proxy]:
    with running_proxy(int(gateway.url.rpartition(":")[2])) as proxy:
        yield proxy


def frames(number: int = FRAMES) -> Iterator[NDArray[np.uint8]]:
    return (shade(each) for each in range(1, number + 1))


def camera(stop: threading.Event) -> Iterator[NDArray[np.uint8]]:
    for number in count(1):
        if stop.wait(0.01):
            return
        yield shade(number % 30 + 1)


def assert_all_answered(results: list[StreamResult], number: int = FRAMES) -> None:
    """Every frame once, in order, each with the result that is its own."""
    assert [result.frame for result in results] == list(range(1, number + 1))
    assert sum(result.dropped for result in results) == 0
    for result in results:
        assert blue_of(result) == pytest.approx(result.frame * 8 / 255, abs=0.01)


TROUBLES: list[tuple[Mode, str]] = [
    ("cut", "the connection to .* broke"),
    ("swallow", r"no answer from .* within 0\.5 s"),
    ("drip", r"no answer from .* within 0\.5 s"),
    ("refuse", "there is no gateway at"),
    ("busy", "the answer is 503"),
]


@pytest.mark.parametrize(("mode", "says"), TROUBLES)
def test_nothing_is_lost_or_answered_twice_when_every_frame_counts(proxy: Proxy, mode: Mode, says: str) -> None:
    """A network that breaks, hangs, trickles or refuses, in mid-stream."""
    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        if re.search(says, message):
            proxy.mode = "pass"

    proxy.retry_after = "0"
    with GatewayClient(proxy.url, timeout_s=0.5) as client:
        results = client.stream(frames(), "colour", on_trouble=tell)
        answered = list(islice(results, 5))
        proxy.mode = mode
        if mode == "busy":
            proxy.break_connections()
        started_s = time.monotonic()
        answered += list(results)
    assert_all_answered(answered)
    assert time.monotonic() - started_s < 20
    *troubles, last = told
    [trouble] = [trouble for trouble in troubles if re.search(says, trouble)][-1:]
    assert "trying again for up to" in trouble
    assert last.startswith("the stream goes on")


def test_a_frame_that_is_answered_while_the_next_is_still_sent_again(
    proxy: Proxy, fake: FakeTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway counts what it gets, and so does the client."""
    slow = tmp_path / "slow.jpg"  # who opens it waits for what is written
    os.mkfifo(slow)
    photo = encoded(64, 48)
    given: list[Photo] = [photo, photo, slow, photo, photo, photo]
    troubles = threading.Event()

    def tell(message: str) -> None:
        proxy.mode = "pass"
        if "goes on" not in message:
            troubles.set()

    def write() -> None:
        troubles.wait(20)
        answered.wait(20)
        slow.write_bytes(photo)

    answered = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    seen: list[StreamResult] = []
    fake.received.clear()
    monkeypatch.setattr(fake, "may_answer", lambda: len(fake.received) < 2 or proxy.mode == "cut" or troubles.is_set())
    with GatewayClient(proxy.url, timeout_s=10) as client:
        results = client.stream(given, "spot", on_trouble=tell)
        seen.append(next(results))
        proxy.mode = "cut"
        seen.append(next(results))
        answered.set()
        seen += list(results)
    writer.join()
    assert [result.frame for result in seen] == [1, 2, 3, 4, 5, 6]
    assert all(result.result is not None for result in seen if result.frame != 3)


def test_the_last_frame_of_a_camera_is_answered_though_the_connection_broke(proxy: Proxy) -> None:
    """There is no newer one that could take its place."""

    def tell(message: str) -> None:
        proxy.mode = "pass"

    def last_frames() -> Iterator[NDArray[np.uint8]]:
        yield shade(1)
        first.wait(20)
        yield shade(2)

    first = threading.Event()
    with GatewayClient(proxy.url, timeout_s=1) as client:
        results = client.stream(last_frames(), "colour", frames="latest", on_trouble=tell)
        assert next(results).frame == 1
        proxy.mode = "swallow"
        first.set()
        assert [result.frame for result in results] == [2]


@pytest.mark.parametrize("mode", ["cut", "swallow"])
def test_a_camera_goes_on_with_the_frames_of_now(proxy: Proxy, mode: Mode) -> None:
    """Those that went down with the connection are counted as dropped."""
    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        proxy.mode = "pass"

    stop = threading.Event()
    with GatewayClient(proxy.url, timeout_s=0.5) as client:
        results = client.stream(camera(stop), "colour", frames="latest", on_trouble=tell)
        before = list(islice(results, 5))
        proxy.mode = mode
        after = list(islice(results, 20))
        stop.set()
        after += list(results)
    assert told
    last = 0
    for result in before + after:
        assert result.frame == last + result.dropped + 1
        last = result.frame


@pytest.mark.parametrize(
    ("mode", "timeout_s", "error"),
    [("refuse", 5, BackendUnavailable), ("cut", 5, BackendUnavailable), ("swallow", 0.5, DeadlineExceeded)],
)
def test_it_gives_up_in_time(proxy: Proxy, mode: Mode, timeout_s: float, error: type[JetserveError]) -> None:
    """One frame's time, where no answer comes, and that for reconnecting, after the last answer."""
    with GatewayClient(proxy.url, timeout_s=timeout_s) as client:
        results = client.stream(frames(), "colour", reconnect_s=1.0, on_trouble=lambda _: None)
        next(results)
        proxy.mode = mode
        started_s = time.monotonic()
        with pytest.raises(error):
            list(results)
        assert time.monotonic() - started_s < 10
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("left", [0.0, 0.001])
def test_who_has_no_time_left_is_told_what_went_wrong(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    """Not that a last attempt, begun after too long a pause, took longer than nothing."""

    def pause_s(_: object, attempt: int, asked_s: float, remaining_s: float) -> float | None:
        return max(0.0, remaining_s - left) if attempt == 0 else None

    with GatewayClient(proxy.url, timeout_s=5) as client:
        results = client.stream(frames(), "colour", reconnect_s=0.5, on_trouble=lambda _: None)
        next(results)
        monkeypatch.setattr("clients.stream.patience.Retries.pause_s", pause_s)
        proxy.mode = "refuse"
        proxy.break_connections()
        with pytest.raises(BackendUnavailable):
            list(results)


def test_the_log_says_it_where_nobody_asked_to_be_told(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """Once, however often it is tried."""
    with GatewayClient(proxy.url, timeout_s=5) as client, caplog.at_level(logging.WARNING, "clients.stream"):
        results = client.stream(frames(), "colour", reconnect_s=1.5)
        next(results)
        proxy.mode = "refuse"
        with pytest.raises(BackendUnavailable):
            list(results)
    messages = [record.message for record in caplog.records if record.name == "clients.stream"]
    assert len([message for message in messages if "there is no gateway" in message]) == 1


WAITS: list[Mode] = ["swallow", "refuse"]
"""For an answer, and for the gateway."""


@pytest.mark.anyio
@pytest.mark.parametrize("mode", WAITS)
async def test_waiting_can_be_cancelled(proxy: Proxy, mode: Mode) -> None:
    """Whoever gives the stream up while it waits for an answer, or for the gateway, is not held."""
    async with AsyncGatewayClient(proxy.url, timeout_s=30) as client:
        async with aclosing(client.stream(frames(), "colour", on_trouble=lambda _: None)) as results:
            await anext(results)
            await asyncio.to_thread(setattr, proxy, "mode", mode)

            async def take() -> None:
                async for _ in results:
                    pass

            taking = asyncio.create_task(take())
            await asyncio.wait({taking}, timeout=0.5)
            assert not taking.done()
            started_s = time.monotonic()
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
        assert time.monotonic() - started_s < 20


@pytest.mark.parametrize("mode", WAITS)
def test_waiting_can_be_interrupted(proxy: Proxy, mode: Mode) -> None:
    """By Ctrl-C, which ends the stream too."""
    before = threads()
    with GatewayClient(proxy.url, timeout_s=30) as client, sigint_not_ignored():
        results = client.stream(frames(), "colour", on_trouble=lambda _: None)
        next(results)
        proxy.mode = mode
        interrupt = threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))

        def take() -> None:
            interrupt.start()  # not before somebody is there to see it
            list(results)

        started_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            take()
        assert 0.4 < time.monotonic() - started_s < 20
    interrupt.join()
    eventually(lambda: threads() <= before, within_s=5)


def test_a_gateway_that_is_restarted_is_found_again(fake: FakeTriton) -> None:
    """On its old address; all frames are answered."""
    port = free_ports(1)[0]
    told: list[str] = []
    with ExitStack() as first, GatewayClient(f"http://127.0.0.1:{port}", timeout_s=10) as client:
        first.enter_context(running_gateway(fake.address, port=port))
        results = client.stream(frames(), "colour", on_trouble=told.append)
        answered = list(islice(results, 5))
        first.close()
        restarted = threading.Event()

        def restart() -> None:
            while not any("no gateway" in message for message in told):
                time.sleep(0.01)
            with running_gateway(fake.address, port=port):
                restarted.set()
                ended.wait(30)

        ended = threading.Event()
        thread = threading.Thread(target=restart)
        thread.start()
        try:
            answered += list(results)
        finally:
            ended.set()
            thread.join()
    assert restarted.is_set()
    assert_all_answered(answered)
    assert "was stopped" in told[0]
    assert told[-1].startswith("the stream goes on")


def test_a_gateway_that_is_busy_for_a_moment_is_asked_again_when_it_says(
    gateway: RunningGateway, fake: FakeTriton
) -> None:
    """Every frame counts: one that was turned away is sent again, in its place."""
    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        fake.failure = None

    with GatewayClient(gateway.url, timeout_s=10) as client:
        results = client.stream(frames(), "colour", on_trouble=tell)
        answered = list(islice(results, 5))
        fake.failure = "queue full"
        answered += list(results)
    assert_all_answered(answered)
    assert "queue" in told[0]


@pytest.fixture(scope="module")
def served(triton: LocalTriton) -> Iterator[RunningGateway]:
    write_model(triton.repository, "stream_colour", colour_contract(max_batch=4), colour_graph())
    triton.load("stream_colour")
    with running_gateway(triton.address) as gateway:
        yield gateway


def restarted_when(triton: LocalTriton, needed: Callable[[], object]) -> threading.Thread:
    """Kill Triton now, and have it started again once it has been missed."""
    triton.kill()

    def restart() -> None:
        end_s = time.monotonic() + 20
        while not needed() and time.monotonic() < end_s:
            time.sleep(0.01)
        triton.start()

    thread = threading.Thread(target=restart)
    thread.start()
    return thread


@pytest.mark.triton
def test_a_triton_that_is_restarted_is_waited_for(served: RunningGateway, triton: LocalTriton) -> None:
    """Every frame is answered, each with what is on it."""
    told: list[str] = []
    with GatewayClient(served.url, timeout_s=10) as client:
        results = client.stream(frames(), "stream_colour", on_trouble=told.append)
        answered = list(islice(results, 5))
        thread = restarted_when(triton, lambda: told)
        answered += list(results)
        thread.join()
    assert_all_answered(answered)
    assert told[-1].startswith("the stream goes on")


@pytest.mark.triton
def test_a_camera_hears_of_a_triton_that_is_away(served: RunningGateway, triton: LocalTriton) -> None:
    """In place of results, which come again when it does."""
    stop = threading.Event()
    missed: list[StreamResult] = []
    with (
        GatewayClient(served.url, timeout_s=10) as client,
        closing(client.stream(camera(stop), "stream_colour", frames="latest")) as results,
    ):
        assert next(results).result is not None
        thread = restarted_when(triton, lambda: missed)
        end_s = time.monotonic() + 30
        for result in results:
            if result.error is not None:
                assert isinstance(result.error, CapacityError), result.error
                missed.append(result)
            elif missed:
                break
            assert time.monotonic() < end_s
        stop.set()
        thread.join()
    assert missed
