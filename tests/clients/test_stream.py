"""Frames through a gateway: every one or the latest, in order, with what was dropped counted."""

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clients import AsyncGatewayClient, GatewayClient, StreamResult
from clients.photos import Photo, encoded_photo, frame_bytes
from clients.stream.results import Mode
from tests.clients.videos import number_of, shade, write_video
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.ports import free_ports
from vision.errors import (
    BackendUnavailable,
    InvalidArgument,
    InvalidImage,
    TooLarge,
    UnknownModel,
    UnknownPath,
)


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[GatewayClient]:
    with GatewayClient(gateway.url, timeout_s=10) as client:
        yield client


def threads() -> set[threading.Thread]:
    """Those that run, but for the gateway's: it starts them when it needs them, and keeps them."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("pixels")}


def blue_of(result: StreamResult) -> float:
    assert result.result is not None
    assert result.result.classes is not None
    return next(item.score for item in result.result.classes if item.label == "blue")


def test_each_frame_has_its_own_result(client: GatewayClient) -> None:
    """In order, numbered from 1, with the frame it is of."""
    results = list(client.stream((shade(number) for number in range(1, 31)), "colour"))
    assert [result.frame for result in results] == list(range(1, 31))
    for result in results:
        assert isinstance(result.image, np.ndarray)
        assert number_of(result.image) == result.frame
        assert blue_of(result) == pytest.approx(result.frame * 8 / 255, abs=0.01)
        assert (result.error, result.dropped) == (None, 0)


@pytest.mark.anyio
async def test_asynchronous_is_the_same(gateway: RunningGateway, tmp_path: Path) -> None:
    """Here with a video, which is read in a thread."""
    video = write_video(tmp_path / "video.avi", frames=10)
    async with AsyncGatewayClient(gateway.url) as client:
        results = [result async for result in client.stream(video, "colour", top_k=1)]
    assert [result.frame for result in results] == list(range(1, 11))
    assert all(result.result is not None and len(result.result.classes or ()) == 1 for result in results)


def test_a_result_is_that_of_predict(client: GatewayClient) -> None:
    """The same numbers for the same bytes, but for the time it took."""
    photo = encoded(64, 48, (120, 40, 200))
    for model in ("colour", "spot"):
        [streamed] = client.stream([photo], model)
        assert streamed.result is not None
        posted = client.predict(photo, model)
        assert streamed.result.model_copy(update={"timings_ms": {}}) == posted.model_copy(update={"timings_ms": {}})


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_frames_may_come_asynchronously(gateway: RunningGateway, mode: Mode) -> None:
    """From the same event loop; a stream that is left while it waits for a frame ends all the same."""
    ended = asyncio.Event()

    async def frames() -> AsyncIterator[NDArray[np.uint8]]:
        try:
            for number in range(1, 6):
                yield shade(number)
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with AsyncGatewayClient(gateway.url) as client:
        async with aclosing(client.stream(frames(), "colour", frames=mode)) as results:
            async for result in results:
                assert blue_of(result) == pytest.approx(result.frame * 8 / 255, abs=0.01)
                if result.frame == 5:
                    break
        await asyncio.wait_for(ended.wait(), 5)
        results = client.stream(one_after_the_other(3), "colour")
        assert [result.frame async for result in results] == [1, 2, 3]


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_an_asynchronous_source_is_closed(gateway: RunningGateway, mode: Mode) -> None:
    """As an ordinary one is, also where it is left between two frames: by the time that the stream has ended."""
    ended: list[int] = []

    async def frames() -> AsyncIterator[NDArray[np.uint8]]:
        number = 0
        try:
            while True:
                yield shade(number := number % 30 + 1)
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    async with AsyncGatewayClient(gateway.url) as client:
        for times in (1, 2, 3):
            async with aclosing(client.stream(frames(), "colour", frames=mode)) as results:
                for _ in range(times):
                    await anext(results)
            assert len(ended) == times


async def one_after_the_other(number: int) -> AsyncIterator[NDArray[np.uint8]]:
    for each in range(1, number + 1):
        yield shade(each)


def test_frames_may_be_given_as_photos_are(client: GatewayClient, tmp_path: Path) -> None:
    """Files, which give the result their name, bytes and grey pixels, mixed; and several frames as one array."""
    photo = tmp_path / "red.png"
    photo.write_bytes(encoded(64, 48, (0, 0, 255), ".png"))
    given: list[Photo] = [photo, encoded(64, 48), np.zeros((48, 64), np.uint8)]
    results = list(client.stream(given, "spot"))
    assert [result.result.name for result in results if result.result] == ["red.png", None, None]
    assert [result.image is image for result, image in zip(results, given, strict=True)] == [True] * 3
    assert len(list(client.stream(np.zeros((2, 48, 64, 3), np.uint8), "spot"))) == 2


def test_pixels_are_sent_as_jpeg_of_that_quality(fake: FakeTriton) -> None:
    """So that a frame fits where a better one, or a PNG, would not."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    small, good, lossless = len(frame_bytes(noise, 10)), len(frame_bytes(noise, 95)), len(encoded_photo(noise).content)
    assert small < good < lossless
    for most, fitting in ((small, 10), (good, 95)):
        with (
            running_gateway(fake.address, max_body_bytes=most) as gateway,
            GatewayClient(gateway.url, timeout_s=10) as client,
        ):
            [fits] = client.stream([noise], "spot", jpeg_quality=fitting)
            assert fits.result is not None
            with pytest.raises(TooLarge):
                list(client.stream([noise], "spot", jpeg_quality=fitting + 1))


def test_an_error_is_one_frames(client: GatewayClient) -> None:
    """The stream goes on, in every mode."""
    modes: tuple[Mode, Mode] = ("latest", "every")
    for mode in modes:
        frames = (frame for frame in (shade(1), b"no photo", shade(3)))
        *_, last = results = list(client.stream(frames, "colour", frames=mode))
        assert last.frame == 3
        assert last.result is not None
        if mode == "every":
            assert isinstance(results[1].error, InvalidImage)
            assert results[1].result is None
            assert results[1].image == b"no photo"


def test_the_latest_wins_and_what_was_dropped_is_counted(client: GatewayClient, fake: FakeTriton) -> None:
    """A camera at twice the model's speed: a thousand frames, the last one answered, and no more than a few held."""
    fake.delay_s = 0.004
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0

    def camera() -> Iterator[NDArray[np.uint8]]:
        nonlocal most
        for number in range(1, 1001):
            frame = shade(number)
            alive[:] = [each for each in alive if each() is not None]
            alive.append(weakref.ref(frame))
            most = max(most, len(alive))
            yield frame
            del frame
            time.sleep(0.002)

    answered = dropped = last = 0
    try:
        for result in client.stream(camera(), "colour", frames="latest"):
            assert result.frame == last + result.dropped + 1
            answered, dropped, last = answered + 1, dropped + result.dropped, result.frame
    finally:
        fake.delay_s = 0.0
    assert last == 1000
    assert answered + dropped == 1000
    assert dropped > 100
    assert most <= 10


def test_every_frame_is_read_no_faster_than_it_is_answered(client: GatewayClient, fake: FakeTriton) -> None:
    """The one that is taken, two on their way, one that waits and one in the source's hands: no more."""
    fake.delay_s = 0.01
    read = 0

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal read
        for number in range(1, 41):
            read = number
            yield shade(number)

    try:
        for result in client.stream(frames(), "colour", frames="every"):
            assert read - result.frame <= 4
    finally:
        fake.delay_s = 0.0
    assert read == 40


def test_a_stream_that_is_left_early_ends_all_it_began(client: GatewayClient) -> None:
    """Its threads, its connection, and the generator that it took frames from."""
    ended = threading.Event()

    def frames() -> Iterator[NDArray[np.uint8]]:
        try:
            while True:
                yield shade(1)
        finally:
            ended.set()

    before = threads()
    with closing(client.stream(frames(), "colour")) as results:
        assert next(results).frame == 1
        assert not threads() <= before
    assert ended.wait(5)
    eventually(lambda: threads() <= before, within_s=5)


@pytest.mark.anyio
async def test_an_asynchronous_stream_that_is_left_early_ends_too(gateway: RunningGateway) -> None:
    """Though its source gives nothing for ever."""
    never = threading.Event()

    def frames() -> Iterator[NDArray[np.uint8]]:
        yield shade(1)
        never.wait()

    async with AsyncGatewayClient(gateway.url) as client, aclosing(client.stream(frames(), "colour")) as results:
        assert (await anext(results)).frame == 1
    never.set()
    eventually(lambda: not any(each.name == "jetserve-source" for each in threading.enumerate()), within_s=5)


def test_what_the_source_raises_comes_after_what_it_gave(client: GatewayClient) -> None:
    """As it is; and so does a frame that is none."""

    def frames() -> Iterator[object]:
        yield shade(1)
        yield shade(2)
        raise KeyError("camera")

    results = client.stream(frames(), "colour")  # type: ignore[arg-type]
    assert [next(results).frame, next(results).frame] == [1, 2]
    with pytest.raises(KeyError, match="camera"):
        next(results)
    given: list[object] = [shade(1), shade(2), None]
    results = client.stream(given, "colour")  # type: ignore[arg-type]
    assert [next(results).frame, next(results).frame] == [1, 2]
    with pytest.raises(InvalidArgument, match="NoneType is no photo"):
        next(results)


def test_what_cannot_begin_is_raised(client: GatewayClient) -> None:
    """As for a photo: an unknown model, an option it cannot heed, and a name that none can have."""
    frames = [shade(1)]
    with pytest.raises(UnknownModel, match="the models are: colour, spot"):
        next(client.stream(frames, "none"))
    with pytest.raises(InvalidArgument, match="top_k is for classifiers"):
        next(client.stream(frames, "spot", top_k=1))
    with pytest.raises(InvalidArgument, match="no model's name"):
        next(client.stream(frames, ".."))


def test_a_frame_over_the_gateways_limit_says_so(fake: FakeTriton) -> None:
    """It would not fit a second time either."""
    with (
        running_gateway(fake.address, max_body_bytes=10_000) as gateway,
        GatewayClient(gateway.url) as client,
        pytest.raises(TooLarge, match="larger than the gateway takes"),
    ):
        list(client.stream([shade(1), bytes(20_000), shade(3)], "colour"))


def test_without_a_gateway_it_says_how_to_start_one() -> None:
    """Soon: nothing has gone well yet that would be worth waiting for."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    started_s = time.monotonic()
    with GatewayClient(url) as client, pytest.raises(BackendUnavailable, match=f"no gateway at {url} .*`make run`"):
        next(client.stream([shade(1)], "colour"))
    assert time.monotonic() - started_s < 15


def test_a_server_that_is_no_gateway_is_told_apart(fake: FakeTriton, gateway: RunningGateway) -> None:
    """One that speaks HTTP, and one that does not."""
    with GatewayClient(f"{gateway.url}/elsewhere") as client, pytest.raises(UnknownPath, match="one is at /v1/models"):
        next(client.stream([shade(1)], "colour"))
    with (
        GatewayClient(f"http://{fake.address}", timeout_s=10, retries=0) as client,
        pytest.raises(BackendUnavailable, match="is this a gateway"),
    ):
        next(client.stream([shade(1)], "colour"))


def test_no_source_yields_nothing(client: GatewayClient) -> None:
    """An empty list is a stream without frames."""
    assert list(client.stream([], "colour")) == []
