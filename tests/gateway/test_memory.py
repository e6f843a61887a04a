import asyncio
import ctypes
import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from starlette.requests import Request

from clients.triton.client import TritonClient
from gateway.caller import while_connected
from gateway.gone import CallerGone
from gateway.memory import keep_freed_memory
from gateway.threads import in_threads
from tests.fake_triton import FakeModel, FakeTriton
from tests.tiny_models import colour_contract
from vision.errors import DeadlineExceeded, InvalidImage

pytestmark = pytest.mark.anyio


class Pixels(bytearray):
    """Something large that can be watched."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def refuse(photo: Pixels) -> int:
    raise InvalidImage(f"{len(photo)} bytes that are no photo")


@pytest.mark.usefixtures("no_collection")
async def test_a_failed_request_frees_its_photos_at_once() -> None:
    """What a request held goes when it fails, not whenever the collector comes round."""
    asked = Request({"type": "http"}, receive=never)
    with ThreadPoolExecutor(1) as threads:

        async def request() -> weakref.ref[Pixels]:
            photo = Pixels(10)
            watched = weakref.ref(photo)

            async def work() -> list[int]:
                return await in_threads(threads, [lambda: refuse(photo)])

            try:
                await while_connected(asked, work())
            except InvalidImage:
                return watched
            raise AssertionError("the photo was taken")

        watched = await request()
    for _ in range(10):  # callbacks that are on their way hold the task until the loop has turned
        await asyncio.sleep(0.001)
    assert watched() is None


@pytest.mark.usefixtures("no_collection")
async def test_work_that_ends_while_its_caller_leaves_ends_once() -> None:
    """The caller hangs up in the turn of the loop in which the work ends: an answer, or gone, and no stray cancel."""
    for turns in range(6):
        gone = asyncio.Event()

        async def hangs_up(gone: asyncio.Event = gone) -> dict[str, str]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def work(turns: int = turns, gone: asyncio.Event = gone) -> str:
            gone.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            return "answer"

        before = asyncio.all_tasks()
        try:
            assert await while_connected(Request({"type": "http"}, receive=hangs_up), work()) == "answer"
        except CallerGone:
            assert turns
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # a cancel that came too late would be met here
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert asyncio.all_tasks() == before


async def test_a_server_that_stops_is_not_a_caller_who_has_gone() -> None:
    """What cancels the request from elsewhere passes through, also when the caller goes at the same time, and when
    every task there is is cancelled."""
    for meanwhile in ("nothing", "gone", "all"):
        gone, started = asyncio.Event(), asyncio.Event()

        async def hangs_up(gone: asyncio.Event = gone) -> dict[str, str]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def work(started: asyncio.Event = started) -> None:
            started.set()
            await asyncio.sleep(3600)

        before = asyncio.all_tasks()
        request = asyncio.create_task(while_connected(Request({"type": "http"}, receive=hangs_up), work()))
        await started.wait()
        if meanwhile == "gone":
            gone.set()
        if meanwhile == "all":
            for task in asyncio.all_tasks() - before - {request}:
                task.cancel()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


def used_bytes() -> int:
    """What the C library has handed out and not got back."""

    class Mallinfo2(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t)
            for name in (
                *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks"),
                "keepcost",
            )
        ]

    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo2
    gc.collect()
    return int(libc.mallinfo2().uordblks)


@pytest.mark.parametrize("ends", ["cancelled", "too late"])
async def test_requests_that_nobody_waits_for_leave_no_memory(ends: str) -> None:
    """gRPC keeps 800 bytes of each call that is cancelled, for ever: none is."""
    contract = colour_contract()
    batch = np.zeros((1, *contract.input.shape), np.uint8)
    async with FakeTriton({"colour": FakeModel(contract)}, delay_s=0.001) as fake, TritonClient(fake.address) as client:

        async def leave() -> None:
            fake.entered.clear()
            asked = asyncio.create_task(
                client.infer("colour", "1", contract, batch, timeout_s=5 if ends == "cancelled" else 0.001)
            )
            await asyncio.wait([asked], timeout=0.001 if ends == "cancelled" else 1)
            asked.cancel()
            with suppress(asyncio.CancelledError, DeadlineExceeded):
                await asked

        async def some(number: int) -> int:
            for _ in range(number):
                await leave()
            async with asyncio.timeout(20):
                while client.left or fake.running:  # noqa: ASYNC110 - calls end without anybody being told
                    await asyncio.sleep(0.001)
            fake.received.clear()
            return used_bytes()

        before = await some(100)
        assert await some(1000) - before < 400_000
        assert fake.cancelled == 0


async def never() -> dict[str, str]:
    await asyncio.sleep(3600)
    return {"type": "http.disconnect"}


def test_the_c_library_takes_the_setting() -> None:
    """On Linux with glibc both thresholds are accepted."""
    assert keep_freed_memory()
