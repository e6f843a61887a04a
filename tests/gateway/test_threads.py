"""Work in threads that never outlives whoever asked for it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.threads import in_threads

pytestmark = pytest.mark.anyio


@pytest.fixture
def one_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


class Job:
    """Works until it is released."""

    def __init__(self) -> None:
        self.started, self.released, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.started.set()
        self.released.wait(5)
        self.ended.set()


async def test_results_keep_the_order_of_the_jobs() -> None:
    """Whichever is done first."""
    first_may_end = threading.Event()

    def first() -> int:
        first_may_end.wait(5)
        return 1

    def second() -> int:
        first_may_end.set()
        return 2

    with ThreadPoolExecutor(2) as threads:
        assert await in_threads(threads, [first, second]) == [1, 2]


async def test_a_cancelled_caller_waits_for_what_has_started_and_starts_no_more(one_thread: ThreadPoolExecutor) -> None:
    """Also when it is cancelled again: the deadline passes, and then the caller hangs up."""
    running, waiting = Job(), Job()
    work = asyncio.create_task(in_threads(one_thread, [running, waiting]))
    await asyncio.to_thread(running.started.wait, 5)
    for _ in range(3):
        work.cancel()
        await asyncio.sleep(0.02)
        assert not work.done()
    running.released.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert running.ended.is_set()
    assert not waiting.started.is_set()


async def test_a_job_that_fails_is_raised_once_the_others_have_ended() -> None:
    """And those not started are given up."""
    running = Job()

    def fails() -> None:
        running.started.wait(5)
        threading.Timer(0.05, running.released.set).start()
        raise KeyError("broken")

    jobs: list[Callable[[], None]] = [running, fails]

    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(KeyError, match="broken"):
            await in_threads(threads, jobs)
        assert running.ended.is_set()
