"""A look at what a Triton has, and when a Triton that takes long for it is taken for away."""

import asyncio
import time
from collections.abc import Callable

from clients.triton.client import TritonClient
from clients.triton.errors import RETRY_AFTER_S
from clients.triton.models import ServedModel
from vision.errors import BackendUnavailable

LOOK_TIMEOUT_S = 5.0
"""A look at the repository that takes longer counts as Triton not being reachable."""

LONG_LOOKS = 3
"""Of a Triton that answers other things meanwhile a look may take so many times that long."""

CALL_TIMEOUT_S = 60.0
"""Of one call of a look: by the clock, which goes on while this process stands still."""

TURN_S = 0.05
"""A silence is counted in turns of this length, and none of them as more than two, however long it took."""


async def listed(
    triton: TritonClient, patience_s: float, heard_s: Callable[[], float], fallen_silent: Callable[[], None]
) -> list[ServedModel] | None:
    """What it has; None of one that is heard of, and takes long to tell.

    `patience_s` is how long it may be silent, `heard_s` when it last answered something else, and `fallen_silent` is
    called when that was too long ago. A silence that has begun is waited for to its end: the next look would have to
    begin with it anew. Time in which this process itself stood still is no silence of Triton's.

    Raises:
        BackendUnavailable: it is silent, or cannot be reached.
        WireError: it cannot list them.
    """
    last_s, waited_s, silent_s = heard_s(), 0.0, 0.0
    listing = asyncio.create_task(triton.models(CALL_TIMEOUT_S))
    try:
        while True:
            began_s = time.monotonic()
            if (await asyncio.wait([listing], timeout=min(TURN_S, patience_s - silent_s)))[0]:
                return listing.result()
            turn_s = min(time.monotonic() - began_s, 2 * TURN_S)
            waited_s, silent_s = waited_s + turn_s, silent_s + turn_s
            if (now_s := heard_s()) > last_s:
                last_s, silent_s = now_s, 0.0
                if waited_s > LONG_LOOKS * patience_s:
                    return None
            elif silent_s >= patience_s:
                fallen_silent()
                raise BackendUnavailable(
                    f"Triton at {triton.address} did not list its models within {patience_s:.2g} s; is it busy?",
                    RETRY_AFTER_S[BackendUnavailable],
                )
    finally:
        listing.cancel()
