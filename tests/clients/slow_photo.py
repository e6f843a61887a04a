"""A photo that takes its time to be read."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

GIVEN_UP_S = 10.0


@asynccontextmanager
async def filled_by_the_loop(pipe: Path, content: bytes) -> AsyncIterator[None]:
    """A pipe at that path, which the running event loop fills in the end.

    Were the loop itself waiting to read it, that would never happen: a timer then fills it, and this fails.
    """
    os.mkfifo(pipe)
    late = threading.Event()

    def fill() -> None:
        late.set()
        pipe.write_bytes(content)

    timer = threading.Timer(GIVEN_UP_S, fill)
    timer.start()
    yield
    await asyncio.sleep(0.05)  # whoever reads has begun
    timer.cancel()
    assert not late.is_set(), "the event loop waited for a file"
    await asyncio.to_thread(pipe.write_bytes, content)
