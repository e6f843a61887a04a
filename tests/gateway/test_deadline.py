"""The moment by which a request must be answered."""

import asyncio
from types import SimpleNamespace

import pytest

from clients.deadline import TIMER_S
from gateway.deadline import Deadline
from vision.errors import DeadlineExceeded

pytestmark = pytest.mark.anyio


async def test_what_takes_longer_is_cancelled_and_named() -> None:
    """The message says what was going on when the time was up."""
    deadline = Deadline(0.05)
    with pytest.raises(DeadlineExceeded, match=r"0\.05 s passed while the model was at work"):
        async with deadline.over("the model was at work"):
            await asyncio.sleep(5)
    assert deadline.remaining_s() == 0


async def test_phases_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one phase used up, the next does not have."""
    now_s = 100.0
    monkeypatch.setattr("clients.deadline.time", SimpleNamespace(monotonic=lambda: now_s))
    deadline = Deadline(20.0)
    async with deadline.over("the first"):
        now_s += 15
        await asyncio.sleep(0)
    assert deadline.remaining_s() == 5
    now_s += 5
    with pytest.raises(DeadlineExceeded, match="while the second"):
        async with deadline.over("the second"):
            await asyncio.sleep(5)


async def test_another_timeout_is_not_the_deadline() -> None:
    """An error of what is done stays what it is; the caller is not told to wait longer for it."""
    with pytest.raises(TimeoutError, match="of the disk"):
        async with Deadline(5).over("the photo was read"):
            raise TimeoutError("of the disk")


async def test_a_call_that_says_it_first_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of two timers for one moment is first is chance; what the caller is told must not be."""
    now_s = 100.0
    monkeypatch.setattr("clients.deadline.time", SimpleNamespace(monotonic=lambda: now_s))
    deadline = Deadline(20.0)
    now_s += 20 - TIMER_S / 2
    with pytest.raises(DeadlineExceeded, match=r"20 s passed while the model was at work") as caught:
        async with deadline.over("the model was at work"):
            raise DeadlineExceeded("Triton did not answer in time")
    assert "Triton" in str(caught.value.__cause__)


async def test_a_shorter_deadline_within_keeps_its_own_words() -> None:
    """A full queue of Triton's that gave a request up is no reason to raise the gateway's deadline."""
    with pytest.raises(DeadlineExceeded, match="too long in the model's queue"):
        async with Deadline(5).over("the model was at work"):
            raise DeadlineExceeded("it waited too long in the model's queue")
