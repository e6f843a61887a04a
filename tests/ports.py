"""Ports that nobody uses."""

import random
import socket
from contextlib import suppress
from pathlib import Path

FIRST = 10_000
CHANCE = random.SystemRandom()  # two runs at once choose others
_tried: set[int] = set()


def free_ports(count: int) -> list[int]:
    """That many different TCP ports of this machine that are free, and that no earlier call has given.

    They are below those that the kernel hands out, to connections and to servers that ask for any port: one of these
    might be somebody else's by the time that it is listened on. Where it hands out nearly all, any must do.
    """
    handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if handed_out < 2 * FIRST:
        handed_out = 2**16
    found: list[int] = []
    while len(found) < count:
        assert len(_tried) < handed_out - FIRST, f"no port from {FIRST} to {handed_out} is free"
        port = CHANCE.randrange(FIRST, handed_out)
        if port in _tried:
            continue
        _tried.add(port)
        with suppress(OSError), socket.socket() as trial:
            trial.bind(("", port))
            found.append(port)
    return found
