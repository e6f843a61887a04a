"""What is held of a stream, and in which order it is given out."""

import asyncio

import pytest

from gateway.frames import Frame, Frames, mode_from_word
from vision.errors import InvalidArgument

pytestmark = pytest.mark.anyio


async def test_a_newer_frame_takes_the_place_of_one_that_waits() -> None:
    """Its number stays its own, and the answer says how many were dropped since the one before."""
    dropped: list[str] = []
    frames = Frames[str]("latest", dropped.append)
    taken = aiter(frames)
    for data in "abc":
        await frames.place()
        frames.put(data)
    assert await anext(taken) == Frame("c", number=3, dropped=2)
    frames.put("d")
    assert await anext(taken) == Frame("d", number=4, dropped=0)
    assert dropped == ["a", "b"]


async def test_every_frame_is_given_out_and_no_more_than_one_waits() -> None:
    """The reader finds no place until the worker took the one that waits."""
    dropped: list[int] = []
    frames = Frames[int]("every", dropped.append)
    put: list[int] = []

    async def read() -> None:
        for data in range(5):
            await frames.place()
            frames.put(data)
            put.append(data)
        frames.close()

    reading = asyncio.create_task(read())
    taken: list[Frame[int]] = []
    async for frame in frames:
        taken.append(frame)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(put) <= len(taken) + 1
    assert taken == [Frame(data, data + 1, 0) for data in range(5)]
    assert dropped == []
    await reading


async def test_the_worker_waits_for_the_first_frame_and_for_each_after_it() -> None:
    """And is not woken for nothing."""
    frames = Frames[str]("latest", lambda _: None)
    taken = aiter(frames)
    for data in "ab":
        waiting = asyncio.ensure_future(anext(taken))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        frames.put(data)
        assert (await waiting).data == data


@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_the_last_frame_is_given_out_after_the_end(mode: str) -> None:
    """Who says that no more will come still waits for the answer to what came."""
    frames = Frames[str](mode_from_word(mode), lambda _: None)
    frames.put("last")
    frames.close()
    assert [frame.data async for frame in frames] == ["last"]


async def test_the_end_without_a_frame_is_the_end() -> None:
    """Also for a worker who waits already."""
    frames = Frames[str]("every", lambda _: None)
    waiting = asyncio.ensure_future(anext(aiter(frames), None))
    await asyncio.sleep(0)
    frames.close()
    assert await waiting is None


def test_the_latest_wins_unless_said_otherwise() -> None:
    """A word that is neither is told what there is."""
    assert mode_from_word(None) == "latest"
    with pytest.raises(InvalidArgument, match=r"frames is 'all'; it may be latest .* or every"):
        mode_from_word("all")
