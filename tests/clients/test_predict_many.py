"""Many photos: in order, a few at a time, and never more of them in memory."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clients import AsyncGatewayClient, GatewayClient, Result
from clients.photos import Photo
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from vision.errors import InvalidArgument, InvalidImage, UnknownModel

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
"""Blue, green and red, which have the label ids 0, 1 and 2."""
WINDOW = 4


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[GatewayClient]:
    with GatewayClient(gateway.url) as client:
        yield client


def of_colour(index: int) -> bytes:
    # Of different sizes, so that answers would be mixed up if they could be.
    return encoded(8 + 40 * (index % 5), 16, COLOURS[index % 3], ".png")


def best(result: object) -> int:
    assert isinstance(result, Result)
    assert result.classes is not None
    return result.classes[0].label_id


class Photos:
    """A film of `count` frames that knows how many of them are alive."""

    def __init__(self, count: int) -> None:
        self.alive = self.most = self.given = 0
        self._count = count

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self._next() for _ in range(self._count))

    async def __aiter__(self) -> AsyncIterator[NDArray[np.uint8]]:
        for _ in range(self._count):
            await asyncio.sleep(0)
            yield self._next()

    def _next(self) -> NDArray[np.uint8]:
        frame = np.full((16, 16, 3), COLOURS[self.given % 3], np.uint8)
        self.given, self.alive = self.given + 1, self.alive + 1
        self.most = max(self.most, self.alive)
        weakref.finalize(frame, self._gone)
        return frame

    def _gone(self) -> None:
        self.alive -= 1


def test_results_come_in_the_order_of_the_photos(client: GatewayClient) -> None:
    """Whichever is answered first."""
    results = list(client.predict_many(map(of_colour, range(30)), "colour"))
    assert [best(result) for result in results] == [index % 3 for index in range(30)]
    assert list(client.predict_many([], "colour")) == []


def test_no_more_photos_are_held_than_are_under_way(client: GatewayClient) -> None:
    """500 of a generator: as many as `concurrency`, and each goes when it is answered."""
    photos = Photos(500)
    results = [best(result) for result in client.predict_many(photos, "colour", concurrency=WINDOW)]
    assert results == [index % 3 for index in range(500)]
    assert WINDOW >= photos.most > 1
    assert photos.alive == 0


@pytest.mark.anyio
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_asynchronous_client_holds_no_more(gateway: RunningGateway, asynchronous: bool) -> None:
    """From an ordinary generator, or from an asynchronous one."""
    photos = Photos(200)
    async with AsyncGatewayClient(gateway.url) as client:
        source = aiter(photos) if asynchronous else iter(photos)
        results = [best(result) async for result in client.predict_many(source, "colour", concurrency=WINDOW)]
    assert results == [index % 3 for index in range(200)]
    assert WINDOW >= photos.most > 1


@pytest.mark.anyio
async def test_a_generator_that_takes_its_time_leaves_the_loop_free(gateway: RunningGateway) -> None:
    """It may read files, or wait for a camera."""
    seen = threading.Event()

    def photos() -> Iterator[bytes]:
        yield of_colour(0)
        assert seen.wait(5), "the event loop waited for a photo"
        yield of_colour(1)

    asyncio.get_running_loop().call_later(0.1, seen.set)
    async with AsyncGatewayClient(gateway.url) as client:
        assert [best(result) async for result in client.predict_many(photos(), "colour")] == [0, 1]


@pytest.mark.anyio
async def test_no_photo_does_not_end_the_photos(gateway: RunningGateway) -> None:
    """None among them is a failure, in its place."""
    photos: list[object] = [of_colour(0), None, of_colour(1)]
    async with AsyncGatewayClient(gateway.url) as client:
        results = client.predict_many(photos, "colour", on_error="return")  # type: ignore[call-overload]
        first, second, third = [result async for result in results]
    assert (best(first), best(third)) == (0, 1)
    assert isinstance(second, InvalidArgument)


def test_so_many_are_under_way_at_once(client: GatewayClient, fake: FakeTriton) -> None:
    """And no more are taken from the source before the first is answered."""
    photos, fake.hangs = Photos(8), True
    results: list[Result] = []
    reading = threading.Thread(target=lambda: results.extend(client.predict_many(photos, "colour", concurrency=3)))
    try:
        reading.start()
        eventually(lambda: fake.running == 3, within_s=5)
        assert photos.given == 3
    finally:
        fake.hangs = False
    reading.join()
    assert len(results) == 8


def test_a_failure_is_raised_in_its_place(client: GatewayClient) -> None:
    """What came before it has been given; what was under way is dropped, and the source is read no further."""
    photos = iter([of_colour(0), b"text", *map(of_colour, range(100))])
    results = client.predict_many(photos, "colour", concurrency=2)
    assert best(next(results)) == 0
    with pytest.raises(InvalidImage):
        next(results)
    assert len(list(photos)) > 90
    with pytest.raises(UnknownModel):
        list(client.predict_many([of_colour(0)], "none"))


def test_failures_can_be_returned(client: GatewayClient, tmp_path: Path) -> None:
    """Each in the place of its photo; files that are not there, too."""
    photos: list[Photo] = [of_colour(1), b"text", tmp_path / "none.jpg", of_colour(2)]
    first, second, third, fourth = client.predict_many(photos, "colour", on_error="return")
    assert (best(first), best(fourth)) == (1, 2)
    assert isinstance(second, InvalidImage)
    assert isinstance(third, FileNotFoundError)


def test_a_source_that_breaks_is_not_hidden(client: GatewayClient) -> None:
    """A camera's own error is no photo's."""

    def camera() -> Iterator[bytes]:
        yield of_colour(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(client.predict_many(camera(), "colour", on_error="return"))


def test_options_reach_every_photo(client: GatewayClient) -> None:
    """As for one; and what is no concurrency is refused."""
    [result] = client.predict_many([of_colour(0)], "colour", top_k=1)
    assert len(result.classes or ()) == 1
    with pytest.raises(InvalidArgument, match="concurrency of 1 or more, got 0"):
        list(client.predict_many([], "colour", concurrency=0))


def test_the_bar_stands_on_the_error_output(client: GatewayClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The other is for results; without `progress` there is nothing."""
    list(client.predict_many([of_colour(0)] * 3, "colour", progress=True))
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert shown.out == ""
    list(client.predict_many([of_colour(0)] * 3, "colour"))
    assert capsys.readouterr().err == ""


def test_who_has_enough_leaves_nothing_behind(client: GatewayClient) -> None:
    """No thread and no photo, once what was under way is answered."""
    photos = Photos(100)
    for result in client.predict_many(photos, "colour", concurrency=WINDOW):
        assert best(result) == 0
        break
    gc.collect()
    assert photos.given <= WINDOW + 1
    eventually(lambda: photos.alive == 0, within_s=5)
    eventually(lambda: not predicting_threads(), within_s=5)


def test_closing_the_client_ends_what_is_under_way(gateway: RunningGateway, fake: FakeTriton) -> None:
    """As Ctrl-C in a loop over many photos does: nobody waits for the answers."""
    fake.hangs = True
    try:
        with GatewayClient(gateway.url) as client:
            results = client.predict_many(Photos(100), "colour", concurrency=WINDOW)
            messages: list[str] = []

            def read() -> None:
                with pytest.raises(RuntimeError) as caught:
                    next(results)
                messages.append(str(caught.value))

            reading = threading.Thread(target=read)
            reading.start()
            eventually(lambda: fake.running == WINDOW, within_s=5)
            began_s = time.monotonic()
        reading.join()
        eventually(lambda: not predicting_threads(), within_s=5)
        assert time.monotonic() - began_s < 10  # they would not come
    finally:
        fake.hangs = False
    eventually(lambda: fake.running == 0, within_s=10)
    assert messages == ["this client was closed while it was at work"]


def predicting_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("jetserve-predict")]


@pytest.mark.anyio
async def test_who_leaves_an_asynchronous_loop_cancels_the_rest(gateway: RunningGateway, fake: FakeTriton) -> None:
    """At once, in mid-request: the gateway sees its callers go."""
    before = asyncio.all_tasks()
    fake.received.clear()
    async with AsyncGatewayClient(gateway.url) as client:
        try:
            async with aclosing(client.predict_many(Photos(100), "colour", concurrency=WINDOW)) as results:
                await anext(results)
                await asyncio.to_thread(
                    eventually, lambda: (len(fake.received), fake.running) == (WINDOW, 0), within_s=5
                )
                fake.hangs = True
                for _ in range(WINDOW - 1):  # each sends another photo, which is not answered for long
                    await anext(results)
                await asyncio.to_thread(eventually, lambda: fake.running == WINDOW - 1, within_s=5)
                began_s = time.monotonic()
            assert time.monotonic() - began_s < 10  # they would not come
            metrics, gone = gateway.http, "gateway_requests_in_flight 0.0"
            await asyncio.to_thread(eventually, lambda: gone in metrics.get("/metrics").text, within_s=10)
        finally:
            fake.hangs = False
        assert asyncio.all_tasks() == before
    eventually(lambda: fake.running == 0, within_s=5)
