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
        connection.settimeout(20)
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


def most_until_the_model_stops(fake: FakeTriton, pid: int, meanwhile: Callable[[], None]) -> int:
    """The most memory the process had until `spot` had nothing to do for a while."""
    most, last, stopped_s = 0, -1, time.monotonic()
    while time.monotonic() - stopped_s < 0.7:
        if (asked := sum(each.model == "spot" for each in fake.received)) != last:
            last, stopped_s = asked, time.monotonic()
        meanwhile()
        most = max(most, resident_bytes(pid))
    assert last > 10
    return most
