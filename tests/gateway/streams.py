"""Callers of WebSocket streams, and what they send."""

import base64
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection, connect

from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded

FRAME_BYTES = 200_000
FLAT_BYTES = 24_000_000
"""A hundred and twenty such frames; a stream may hold three, and what the C library keeps of them."""


def address_of(url: str, model: str, query: str = "") -> str:
    return f"ws{url.removeprefix('http')}/v1/models/{model}/stream{query and '?' + query}"


@contextmanager
def streaming(url: str, model: str, query: str = "", **more: Any) -> Iterator[ClientConnection]:
    """A stream of the gateway at `url`."""
    with connect(address_of(url, model, query), compression=None, proxy=None, **more) as stream:
        yield stream


def answer(stream: ClientConnection, timeout_s: float = 10.0) -> dict[str, Any]:
    """The next one."""
    answered: dict[str, Any] = json.loads(stream.recv(timeout_s))
    return answered


def photo_of_bytes(size: int) -> bytes:
    """A photo that is small to decode and long to send: the rest are comments."""
    photo = encoded(40, 40)
    comments = b""
    while (missing := size - len(photo) - len(comments)) > 4:
        length = min(missing - 2, 65_535)
        comments += b"\xff\xfe" + struct.pack(">H", length) + bytes(length - 2)
    return photo[:2] + comments + photo[2:]


@contextmanager
def bare_stream(url: str, model: str, query: str = "") -> Iterator[socket.socket]:
    """The socket of a stream whose handshake is done; its caller reads only when told to."""
    target = urlsplit(address_of(url, model, query))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.settimeout(60)
        connection.connect((target.hostname, target.port))
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert connection.recv(12) == b"HTTP/1.1 101"
        yield connection


def wire_frame(payload: bytes, opcode: int = 2, *, last: bool = True) -> bytes:
    """One frame as a caller sends it (RFC 6455 5.2), with a mask of zeros."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65_536:
        size = b"\xfe" + struct.pack(">H", length)
    else:
        size = b"\xff" + struct.pack(">Q", length)
    return bytes([(0x80 if last else 0) | opcode]) + size + bytes(4) + payload


def many_boxes(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Answers so long that the network does not hold many of them."""
    dets = np.tile(np.array([1, 1, 9, 9, 0.9], np.float32), (len(batch), 300, 1))
    return {"dets": dets, "labels": np.zeros((len(batch), 300), np.int64)}


def resident_bytes(pid: int) -> int:
    """Of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def until_still(count: Callable[[], int], meanwhile: Callable[[], object]) -> int:
    """Wait until it has counted something, and then nothing for a while: not by the clock alone, but while another
    caller was answered again and again."""
    last, rounds, end_s = 0, 0, time.monotonic() + 120
    while not last or rounds < 30:
        assert time.monotonic() < end_s, f"it counts on and on, and has counted {last}"
        rounds += 1
        if (now := count()) != last:
            last, rounds = now, 0
        meanwhile()
        time.sleep(0.02)
    return last


def most_until_the_model_stops(fake: FakeTriton, pid: int, meanwhile: Callable[[], None]) -> int:
    """The most memory the process had until `spot` had nothing to do for a while."""
    most = 0

    def looked() -> None:
        nonlocal most
        meanwhile()
        most = max(most, resident_bytes(pid))

    assert until_still(lambda: sum(each.model == "spot" for each in fake.received), looked) > 10
    return most


def stays(count: Callable[[], int]) -> bool:
    """Whether it does, for half a second."""
    before = count()
    time.sleep(0.5)
    return count() == before


def at_half_speed(fake: FakeTriton, sent: Callable[[], int], of: int) -> None:
    """Have the model answer a stream's frame once two more were sent, or all: whatever else the machine has to do."""
    begun: dict[int, int] = {}

    def may_answer() -> bool:
        at = begun.setdefault(len(fake.received), sent())
        return sent() >= min(of, at + 2)

    fake.may_answer = may_answer
