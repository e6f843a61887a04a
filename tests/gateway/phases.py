"""The phases of a request, by the names that callers see."""

import re

import httpx

IN_BODY = [
    "receive", "slot", "thread", "decode", "preprocess", "serialise", "queue", "compute", "transport", "deserialise",
    "postprocess", "total",
]  # fmt: skip
"""In the order they come."""
OF_TRITON = {"queue", "compute"}
"""Which are left out until Triton has told them."""
IN_HEADER = [*IN_BODY[:-1], "respond", "total"]
UNDIVIDED = [phase for phase in IN_HEADER if phase not in OF_TRITON]


def phases_ms(response: httpx.Response) -> dict[str, float]:
    """What `Server-Timing` says."""
    found = re.findall(r"(\w+);dur=([\d.e-]+)", response.headers["server-timing"])
    return {name: float(spent_ms) for name, spent_ms in found}
