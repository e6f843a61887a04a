"""A look at what a Triton has, and when a Triton that takes long for it is taken for away."""

import asyncio
import time
from collections.abc import Callable

from clients.triton import ServedModel, TritonClient
from clients.triton_errors import RETRY_AFTER_S
from vision.errors import BackendUnavailable

LOOK_TIMEOUT_S = 5.0
"""A look at the repository that takes longer counts as Triton not being reachable."""

LONG_LOOKS = 3
"""Of a Triton that answers other things meanwhile a look may take so many times that long."""


async def listed(triton: TritonClient, patience_s: float, grace_s: Callable[[], float]) -> list[ServedModel] | None:
    """What it has; None of one that is heard of, and takes long to tell.

    `patience_s` is how long it may be silent; `grace_s`, asked when that has passed, for how long more, as it may have
    answered something else meanwhile; 0 is no longer. A silence that has begun is waited for to its end: the next look
    would have to begin with it anew.

    Raises:
        BackendUnavailable: it is silent, or cannot be reached.
        WireError: it cannot list them.
    """
    began_s, left_s = time.monotonic(), patience_s
    listing = asyncio.create_task(triton.models())
    try:
        while not (await asyncio.wait([listing], timeout=left_s))[0]:
            if (left_s := grace_s()) <= 0:
                whom = f"Triton at {triton.address}"
                raise BackendUnavailable(
                    f"{whom} did not list its models within {patience_s:.2g} s; is it busy?",
                    RETRY_AFTER_S[BackendUnavailable],
                )
            if time.monotonic() - began_s > LONG_LOOKS * patience_s:
                return None
        return listing.result()
    finally:
        listing.cancel()
