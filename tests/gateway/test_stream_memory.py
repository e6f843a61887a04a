"""What a gateway's process holds of streams: little, however fast they send and however slowly they read."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import answers, eventually, process
from tests.gateway.streams import (
    FLAT_BYTES,
    FRAME_BYTES,
    answer,
    at_half_speed,
    bare_stream,
    many_boxes,
    most_until_the_model_stops,
    photo_of_bytes,
    resident_bytes,
    stays,
    streaming,
    wire_frame,
)

PHOTO = encoded(40, 40)
FRAMES = 1000


@contextmanager
def watched(fake: FakeTriton, **settings: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The process of a gateway that has worked before."""
    with process(triton=fake.address, log_level="warning", decode_threads=2, **settings) as (started, url):
        eventually(lambda: answers(url), within_s=60)
        with streaming(url, "colour", "frames=every") as stream:
            for _ in range(20):
                stream.send(photo_of_bytes(FRAME_BYTES))
                answer(stream)
        yield url, started


def test_a_thousand_frames_at_twice_the_models_speed(fake: FakeTriton) -> None:
    """Memory stays flat, order is kept, the last is answered, and what is not answered was counted as dropped."""
    photo, sent = photo_of_bytes(FRAME_BYTES), 0
    received: list[dict[str, Any]] = []
    with watched(fake) as (url, started), streaming(url, "colour") as stream:

        def read() -> None:
            while not received or received[-1]["frame"] < FRAMES:
                received.append(answer(stream))

        reading = threading.Thread(target=read)
        reading.start()
        before, most = resident_bytes(started.pid), 0
        at_half_speed(fake, lambda: sent, FRAMES)
        for sent in range(1, FRAMES + 1):  # noqa: B007 - the model looks at it
            stream.send(photo)
            most = max(most, resident_bytes(started.pid))
            time.sleep(0.002)
        reading.join(60)
        counted = httpx.get(f"{url}/metrics").text
    numbers = [each["frame"] for each in received]
    dropped = sum(each["dropped"] for each in received)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == FRAMES
    assert len(received) + dropped == FRAMES
    assert dropped > FRAMES / 4
    assert f'gateway_frames_dropped_total{{model="colour",transport="websocket"}} {dropped}.0' in counted
    assert most - before < FLAT_BYTES


@pytest.mark.parametrize("mode", ["latest", "every"])
def test_who_sends_and_never_reads_costs_no_memory(fake: FakeTriton, mode: str) -> None:
    """The model stops for it; its frames are dropped, or it is held back; another caller is served meanwhile."""
    fake.models["spot"].answer = many_boxes
    frame, sent, done = wire_frame(photo_of_bytes(FRAME_BYTES)), 0, threading.Event()
    with watched(fake) as (url, started), bare_stream(url, "spot", f"frames={mode}&max_detections=300") as stream:

        def send() -> None:
            nonlocal sent
            with suppress(OSError):  # at the end
                while not done.is_set():
                    stream.sendall(frame)
                    sent += 1

        sending = threading.Thread(target=send)
        sending.start()
        before = resident_bytes(started.pid)
        with streaming(url, "colour") as other:

            def served() -> None:
                other.send(PHOTO)
                assert answer(other)["results"]

            most = most_until_the_model_stops(fake, started.pid, served)
        if mode == "latest":
            enough = sent + FRAMES
            eventually(lambda: sent > enough, within_s=60)
        else:
            eventually(lambda: stays(lambda: sent), within_s=20)
        assert max(most, resident_bytes(started.pid)) - before < FLAT_BYTES
        done.set()
        stream.shutdown(socket.SHUT_RDWR)
        sending.join(10)
        eventually(lambda: "gateway_permits_taken 0.0" in httpx.get(f"{url}/metrics").text, within_s=5)


def test_who_reads_late_gets_every_answer(fake: FakeTriton) -> None:
    """Whoever asked for every frame and was held back is answered in full once it reads."""
    fake.models["spot"].answer = many_boxes
    with watched(fake) as (url, _), streaming(url, "spot", "frames=every", max_queue=2) as stream:

        def send() -> None:
            for _ in range(FRAMES // 4):
                stream.send(photo_of_bytes(FRAME_BYTES))

        sending = threading.Thread(target=send)
        sending.start()
        sending.join(2)
        numbers = [json.loads(stream.recv(10))["frame"] for _ in range(FRAMES // 4)]
        sending.join(20)
    assert numbers == list(range(1, FRAMES // 4 + 1))


def test_pings_of_who_never_reads_cost_no_memory(fake: FakeTriton) -> None:
    """Forty megabytes of them; the answers to all but the last may be left out."""
    pings = wire_frame(bytes(125), opcode=9) * 4000
    with watched(fake) as (url, started), bare_stream(url, "colour") as stream:
        before = resident_bytes(started.pid)
        for _ in range(80):
            stream.sendall(pings)
        eventually(lambda: answers(url), within_s=20)
        assert resident_bytes(started.pid) - before < FLAT_BYTES


def test_tiny_fragments_cost_no_memory(fake: FakeTriton) -> None:
    """A message of which each part is a byte is one message, and not half a million."""
    tiny = wire_frame(b"x", opcode=0, last=False) * 10_000
    with watched(fake) as (url, started), bare_stream(url, "colour") as stream:
        assert stream.recv(1000).endswith(b"\r\n\r\n")
        stream.sendall(wire_frame(b"", last=False))
        before = resident_bytes(started.pid)
        for _ in range(50):
            stream.sendall(tiny)
        stream.sendall(wire_frame(b"all read?", opcode=9))
        received = b""
        while b"all read?" not in received:
            received += stream.recv(1000)
        assert resident_bytes(started.pid) - before < FLAT_BYTES / 2
