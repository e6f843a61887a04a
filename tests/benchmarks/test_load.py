"""The load of `benchmarks.peers` against a small real server."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.peers import window
from benchmarks.peers.load import load
from benchmarks.peers.window import Counted, Window
from tests.ports import free_ports

PHOTO = b"photo" * 7000
SLOW_S = 0.02
Answer = Callable[[int], tuple[int, bytes]]
"""Status and body of the n-th request."""


@dataclass
class Seen:
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextmanager
def server(answer: Answer) -> Iterator[Seen]:
    """Answers after SLOW_S, over connections that are kept."""
    seen, lock = Seen(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            seen.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                seen.bodies.append(body)
                status, content = answer(len(seen.bodies))
            time.sleep(SLOW_S)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        seen.url = f"http://127.0.0.1:{http.server_address[1]}/predict"
        try:
            yield seen
        finally:
            http.shutdown()
            thread.join()


def boxes(count: int) -> bytes:
    return b"[" + b",".join([b'{"label":"person","score":0.5}'] * count) + b"]"


def asked(url: str, users: int = 1, warmup_s: float = 0.0) -> Counted:
    return load(url, PHOTO, 3, users=users, warmup_s=warmup_s, seconds=0.5)


def asked_until(enough: Callable[[Counted], bool], seen: Seen, users: int = 1, warmup_s: float = 0.0) -> Counted:
    """The first of five loads of which that holds, or the last: a machine that stands still answers nobody."""
    for _ in range(5):
        seen.bodies.clear()
        seen.connections = 0
        if enough(counted := asked(seen.url, users, warmup_s)):
            break
    return counted


def test_users_ask_again_when_they_are_answered() -> None:
    """Each on one connection, with the whole photo, and the time of every answer is kept."""
    with server(lambda _: (200, boxes(3))) as seen:
        counted = asked_until(lambda counted: len(counted.latencies_s) > 1, seen, users=4)
    assert seen.connections == 4
    assert set(seen.bodies) == {PHOTO}
    assert counted.failures == 0
    assert len(seen.bodies) - 4 <= len(counted.latencies_s) <= len(seen.bodies)
    assert min(counted.latencies_s) >= SLOW_S
    assert sum(counted.latencies_s) <= 4 * 0.5 + SLOW_S
    assert 0 < counted.cpu_s < 0.5


def test_warm_up_is_not_counted() -> None:
    """Answers before the window opens are no part of the rate."""

    def is_part(counted: Counted) -> bool:
        return 0 < len(counted.latencies_s) < len(seen.bodies) - 2  # the last one may come too late

    with server(lambda _: (200, boxes(3))) as seen:
        counted = asked_until(is_part, seen, warmup_s=0.4)
    assert is_part(counted)


@pytest.mark.parametrize("wrong", [(500, boxes(3)), (200, boxes(2)), (200, b"[]"), (429, b"")])
def test_wrong_answers_are_failures(wrong: tuple[int, bytes]) -> None:
    """A status that is not 200, or another number of boxes, is a failure and no answer."""
    with server(lambda number: wrong if number % 2 else (200, boxes(3))) as seen:
        counted = asked(seen.url)
    assert counted.failures == (len(seen.bodies) + 1) // 2
    assert len(counted.latencies_s) <= len(seen.bodies) // 2


def test_a_server_that_is_gone() -> None:
    """Nobody there: failures, no answers, and the load ends in time."""
    [port] = free_ports(1)
    begin_s = time.monotonic()
    counted = asked(f"http://127.0.0.1:{port}/predict")
    assert counted.failures > 0
    assert counted.latencies_s == []
    assert counted.summary()["ms"] == {}
    assert time.monotonic() - begin_s < 5


def test_only_the_window_counts() -> None:
    """What is answered before it opens, or after it has closed, is left out; failures never are."""
    early, late = Window(warmup_s=60, seconds=1), Window(warmup_s=0, seconds=0)
    for each in (early, late):
        each.answered(time.perf_counter())
        each.failed()
        assert each.counted == Counted(each.counted.window_s, failures=1)
    assert late.is_over()
    assert not early.is_over()


def test_counts_of_rounds_and_of_loops(tmp_path: Path) -> None:
    """Rounds add their windows, loops side by side share one; a file gives back what it was given."""
    one, other = Counted(2.0, [0.1, 0.2], 1, 0.5), Counted(2.0, [0.3], 0, 0.25)
    assert (one + other) == Counted(4.0, [0.1, 0.2, 0.3], 1, 0.75)
    assert (one | other) == Counted(2.0, [0.1, 0.2, 0.3], 1, 0.75)
    assert (one | other).requests_per_s == 1.5
    one.write(tmp_path / "counted.json")
    assert window.read(tmp_path / "counted.json") == one
