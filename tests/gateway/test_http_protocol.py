import gc
import socket
import struct
import time
import weakref
from contextlib import suppress
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from gateway import http_protocol
from gateway.http_protocol import UPGRADE, without_upgrade
from tests.fake_triton import FakeModel
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_fake, running_gateway
from tests.tiny_models import colour_contract

BODY = b"\r\nUpgrade: a line of the photo"


def connected(gateway: RunningGateway) -> socket.socket:
    address = urlsplit(gateway.url)
    assert address.hostname is not None
    assert address.port is not None
    return socket.create_connection((address.hostname, address.port), timeout=10)


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("split", [False, True])
def test_an_offer_to_upgrade_is_ignored(protocol: str, split: bool) -> None:
    """A photo that comes with `Upgrade: h2c`, as curl --http2 and Java send it, is answered, and so is the next."""
    photo = encoded(64, 48)
    head = (
        "POST /v1/models/colour/predict HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: {protocol}\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\ncontent-type: image/jpeg\r\ncontent-length: {len(photo)}\r\n\r\n"
    ).encode()
    with (
        running_fake({"colour": FakeModel(colour_contract())}) as fake,
        running_gateway(fake.address) as gateway,
        connected(gateway) as connection,
    ):
        for _ in range(2):
            if split:
                connection.sendall(head)
                time.sleep(0.05)
                connection.sendall(photo)
            else:
                connection.sendall(head + photo)
            answer = HTTPResponse(connection)
            answer.begin()
            assert (answer.status, len(answer.read()) > 0) == (200, True)


def test_only_the_head_is_touched() -> None:
    """The header is renamed in the head of a request; a photo's own bytes stay."""
    head = b"POST / HTTP/1.1\r\nupgrade : h2c\r\nhost: upgrade:x\r\n\r\n"
    assert without_upgrade(head + BODY, UPGRADE) == head.replace(b"upgrade :", b"x-not-taken :") + BODY
    plain = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n" + BODY
    assert without_upgrade(plain, UPGRADE) is plain


@pytest.mark.parametrize(
    "said", [b"", b"GET /health/live HTTP/1.1\r\nhost", b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\nGE"]
)
def test_who_asks_nothing_is_hung_up_on(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a whole head, from its start or after an answer, ends after a while."""
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.3)
    with running_gateway("127.0.0.1:9") as gateway:
        begin = time.monotonic()
        with connected(gateway) as connection:
            connection.sendall(said)
            while connection.recv(65536):
                pass
        assert 0.2 < time.monotonic() - begin < 9


def test_a_connection_that_breaks_off_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing holds it until the time is over that an idle connection has."""
    lost: weakref.WeakSet[http_protocol.Protocol] = weakref.WeakSet()
    connection_lost = http_protocol.Protocol.connection_lost

    def losing(protocol: http_protocol.Protocol, exc: Exception | None) -> None:
        assert isinstance(exc, ConnectionResetError)
        lost.add(protocol)
        connection_lost(protocol, exc)
        ended.append(1)

    ended: list[int] = []
    with running_gateway("127.0.0.1:9") as gateway:
        monkeypatch.setattr(http_protocol.Protocol, "connection_lost", losing)
        for _ in range(3):
            with connected(gateway) as connection:
                connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
                assert connection.recv(65536)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
        eventually(lambda: len(ended) == 3, within_s=5)
        eventually(lambda: gc.collect() >= 0 and not lost, within_s=10)
        monkeypatch.setattr(http_protocol.Protocol, "connection_lost", connection_lost)


def test_a_head_without_an_end_is_refused() -> None:
    """The parser keeps headers, so it is not given more of them than a head may have."""
    with running_gateway("127.0.0.1:9") as gateway, connected(gateway) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n")
        with suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(b"x-more: " + b"x" * 8000 + b"\r\n")
        with suppress(ConnectionError):  # what was sent after the refusal may end the connection before it is read
            assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")
        long = b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 30_000 + b"\r\n\r\n"
        with connected(gateway) as another:
            another.sendall(long)
            assert another.recv(65536).startswith(b"HTTP/1.1 200 ")


HANDSHAKE = (
    "GET /v1/models/colour/stream HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    ("header", "status"),
    [("cookie: " + "x" * 9000, 431), ("content-length: 5", 400), ("transfer-encoding: chunked", 400)],
    ids=["long", "length", "chunked"],
)
def test_a_handshake_that_cannot_be_read_is_answered(header: str, status: int) -> None:
    """It neither stays open nor makes the gateway fail when it stops."""
    with running_gateway("127.0.0.1:9") as gateway, connected(gateway) as connection:
        connection.sendall(f"{HANDSHAKE}{header}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())
        while connection.recv(65536):
            pass
