"""Where a request's time went."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TypeVar

from clients.echo import quoted
from clients.phases import Phases
from clients.wire import TIMINGS
from gateway.threads import in_threads
from vision.errors import InvalidArgument

T = TypeVar("T")


def ask_for_exact(phases: Phases, headers: Mapping[str, str]) -> None:
    """Have Triton asked what it took for this very request, where the caller wants it so.

    Raises:
        InvalidArgument: it wants something else.
    """
    asked = headers.get(TIMINGS)
    if asked == "exact":
        phases.exact = True
    elif asked is not None:
        raise InvalidArgument(f"the header {TIMINGS} is {quoted(asked)}; it may be exact")


def timing_headers(phases: Phases) -> dict[str, str]:
    """`Server-Timing` of all phases, the last of them `respond`, which ends with this."""
    phases.mark("respond")
    total_s = phases.total_s()
    headers = {"server-timing": server_timing(phases.seconds() | {"total": total_s})}
    if phases.exact is not None:
        headers[TIMINGS] = "exact" if phases.exact else "mean"
    return headers


def server_timing(seconds: Mapping[str, float]) -> str:
    """The value of a `Server-Timing` header, in milliseconds (W3C Server Timing): `decode;dur=4.200, …`."""
    return ", ".join([f"{name};dur={spent_s * 1e3:.3f}" for name, spent_s in seconds.items()])


async def in_thread(threads: Executor, job: Callable[[], T], phase: str, phases: Phases) -> T:
    """The result of `job`, whose time goes to `phase`, and to the phase thread that of getting there and back."""

    def timed() -> tuple[T, float, float]:
        began_s = time.perf_counter()
        return job(), began_s, time.perf_counter()

    [(result, began_s, ended_s)] = await in_threads(threads, [timed])
    phases.mark_at("thread", began_s)
    phases.mark_at(phase, ended_s)
    phases.mark("thread")
    return result
