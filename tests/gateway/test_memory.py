import asyncio
import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.requests import Request

from gateway.caller import while_connected
from gateway.memory import keep_freed_memory
from gateway.threads import in_threads
from vision.errors import InvalidImage

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
    await asyncio.sleep(0.01)  # callbacks that are on their way hold the task until the loop has turned
    assert watched() is None


async def never() -> dict[str, str]:
    await asyncio.sleep(3600)
    return {"type": "http.disconnect"}


def test_the_c_library_takes_the_setting() -> None:
    """On Linux with glibc both thresholds are accepted."""
    assert keep_freed_memory()
