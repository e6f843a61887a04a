"""Models whose process died are loaded again, with measure."""

import asyncio
import logging

import pytest

from clients.triton.client import TritonClient
from gateway.healing import Healer
from vision.errors import ModelNotReady

pytestmark = pytest.mark.anyio


class Loads(TritonClient):
    """A Triton that counts its loads, each of which lasts until `end` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("127.0.0.1:1")
        self.names: list[str] = []
        self.unloaded: list[str] = []
        self.end = asyncio.Event()
        self.error = error

    async def load(self, name: str, settings: object = None) -> None:
        self.names.append(name)
        await self.end.wait()
        if self.error is not None:
            raise self.error

    async def unload(self, name: str) -> None:
        self.unloaded.append(name)


async def test_one_load_of_a_model_is_in_flight() -> None:
    """However many requests fail meanwhile; another model has its own."""
    triton = Loads()
    healer = Healer(triton, again_s=0)
    for name in ("colour", "spot", "colour", "colour"):
        healer.load_again(name)
        await asyncio.sleep(0)
    assert triton.names == ["colour", "spot"]
    triton.end.set()
    await asyncio.sleep(0.01)
    healer.load_again("colour")
    await asyncio.sleep(0)
    assert triton.names == ["colour", "spot", "colour"]


class Clock:
    """Goes on when it is told to."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("gateway.healing.time", clock)
    return clock


async def test_a_model_that_dies_again_waits(clock: Clock) -> None:
    """One that ends at every request would keep Triton loading it."""
    triton = Loads()
    triton.end.set()
    healer = Healer(triton, again_s=10)
    for _ in range(3):
        healer.load_again("colour")
        await asyncio.sleep(0.01)
        clock.now_s += 4
    assert triton.names == ["colour"]
    healer.load_again("colour")
    await asyncio.sleep(0)
    assert triton.names == ["colour", "colour"]


async def test_a_load_that_was_in_vain_is_followed_by_one_after_an_unload(clock: Clock) -> None:
    """Triton may take an unchanged model for loaded; after a while without a death all begins anew."""
    triton = Loads()
    triton.end.set()
    healer = Healer(triton, again_s=10)
    for wait_s, unloaded in ((11, 0), (11, 1), (11, 1), (31, 2), (11, 2), (0, 3)):
        healer.load_again("colour")
        await asyncio.sleep(0.01)
        assert len(triton.unloaded) == unloaded
        clock.now_s += wait_s
    assert triton.names == ["colour"] * 6


async def test_a_load_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it who could be told."""
    triton = Loads(ModelNotReady("these weights cannot be read"))
    triton.end.set()
    Healer(triton).load_again("colour")
    await asyncio.sleep(0.01)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "could not be loaded again: these weights cannot be read" in caplog.text


async def test_no_load_outlives_the_gateway() -> None:
    """One may take minutes."""
    triton = Loads()
    healer = Healer(triton, again_s=0)
    healer.load_again("colour")
    await asyncio.sleep(0)
    healer.stop()
    await asyncio.sleep(0.01)
    healer.load_again("colour")
    await asyncio.sleep(0)
    assert triton.names == ["colour", "colour"]
    healer.stop()
