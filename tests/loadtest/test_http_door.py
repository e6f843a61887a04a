"""The HTTP of users against servers that keep to nothing; in this process, which gevent does not patch."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from loadtest.images import images_from_text
from loadtest.users.answers import Answer
from loadtest.users.http import Connections, HttpDoor
from tests.loadtest.known_answers import prediction

[IMAGE] = images_from_text("made:32x32x1", 0)
GOOD = prediction("known", IMAGE.size_hw, {"compute": 0.001})
PLENTY_S, TIMEOUT_S = 30.0, 0.3


@contextmanager
def serving(answer: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A server's URL: each connection is for one request, of which `answer` gets what came of the head."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection, connection.recv(64 << 10))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def asked(url: str, timeout_s: float = PLENTY_S) -> Answer:
    with contextlib.closing(Connections(url, timeout_s, 1)) as connections:
        return HttpDoor(connections).ask("known", IMAGE)[1]


def dripping(connection: socket.socket, _: bytes) -> None:
    for number in range(len(GOOD)):
        connection.sendall(GOOD[number : number + 1])
        time.sleep(TIMEOUT_S / 6)


def silent(connection: socket.socket, _: bytes) -> None:
    while connection.recv(64 << 10):  # until its other end is closed
        pass


@pytest.mark.parametrize("answer_with", [dripping, silent])
def test_an_answer_that_is_not_whole_in_time_is_too_late(answer_with: Callable[[socket.socket, bytes], None]) -> None:
    """The timeout is of a request as a whole, whatever comes meanwhile, and told in the same words."""
    with serving(answer_with) as url:
        began_s = time.monotonic()
        answer = asked(url, TIMEOUT_S)
        whole_s = len(GOOD) * TIMEOUT_S / 6
        assert (answer.outcome, time.monotonic() - began_s < whole_s / 2) == ("timeout", True)
        assert answer.detail == "not answered to the end within 0.3 s"


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (GOOD, "ok"),
        (GOOD[:-9], "connection"),
        (b"", "connection"),
        (b"\x00\x01 what is this\r\n\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: some\r\n\r\n{}", "connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1, 2, 3]", "wrong_answer"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n", "http_302"),
    ],
)
def test_what_a_server_may_send_is_counted(sent: bytes, outcome: str) -> None:
    """By its kind, with what was wrong; a redirect is not followed: it would be another server's time."""
    with serving(lambda connection, _: connection.sendall(sent)) as url:
        answer = asked(url)
    assert answer.outcome == outcome
    assert bool(answer.detail) == (outcome not in ("ok", "http_302"))


def test_a_path_of_the_host_stands_before_the_model() -> None:
    """As behind a proxy that has several servers."""
    heads: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(GOOD)

    with serving(answer) as url:
        assert asked(f"{url}/cameras/").outcome == "ok"
    assert heads[0].startswith(b"POST /cameras/v1/models/known/predict HTTP/1.1\r\n")


def test_the_last_piece_of_a_photo_is_sent_at_once() -> None:
    """It does not wait, as Nagle has it, until the pieces before it are acknowledged."""
    with serving(lambda connection, _: None) as url:
        pool = Connections(url, PLENTY_S, 1)._client._connection_pool
        with pool.get_socket() as connected:
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
