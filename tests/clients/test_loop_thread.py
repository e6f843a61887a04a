"""An event loop in a thread of its own."""

import asyncio
import sys
import threading
from types import FrameType

from clients.loop_thread import LoopThread


def test_nobody_waits_for_ever_where_another_thread_closes_it() -> None:
    """Not even who is about to hand something to the loop, which then still runs but for a moment."""
    loop, finishing = LoopThread("jetserve-closed"), threading.Event()
    loop.run(asyncio.sleep(0))

    async def finish() -> None:
        finishing.set()
        await asyncio.sleep(0.2)

    closing = threading.Thread(target=loop.close, args=(finish,))

    def close_now(frame: FrameType, event: str, _: object) -> None:
        if frame.f_code is asyncio.run_coroutine_threadsafe.__code__ and closing.ident is None:
            closing.start()
            finishing.wait(0.5)

    def run() -> None:
        sys.settrace(close_now)  # of this thread alone
        try:
            loop.run(asyncio.sleep(60))
        except RuntimeError as exc:
            said.append(str(exc))

    said: list[str] = []
    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(10)
    closing.join(10)
    assert said == ["this client was closed while it was at work"]
