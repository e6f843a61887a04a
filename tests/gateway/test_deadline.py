"""The moment by which a request must be answered."""

import asyncio
from types import SimpleNamespace

import pytest

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
