import socket
import time
from urllib.parse import urlsplit

import pytest

from gateway import http_protocol
from gateway.http_protocol import without_upgrade
from tests.fake_triton import FakeModel
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, running_fake, running_gateway
from tests.tiny_models import colour_contract

BODY = b"\r\nUpgrade: a line of the photo"


def connected(gateway: RunningGateway) -> socket.socket:
    address = urlsplit(gateway.url)
    assert address.hostname is not None
    assert address.port is not None
    return socket.create_connection((address.hostname, address.port), timeout=10)


@pytest.mark.parametrize("split", [False, True])
def test_an_offer_to_upgrade_is_ignored(split: bool) -> None:
    """A photo that comes with `Upgrade: h2c`, as curl --http2 and Java send it, is answered, and so is the next."""
    photo = encoded(64, 48)
    head = (
        "POST /v1/models/colour/predict HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
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
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_only_the_head_is_touched() -> None:
    """The header is renamed in the head of a request; a photo's own bytes stay."""
    head = b"POST / HTTP/1.1\r\nupgrade : h2c\r\nhost: upgrade:x\r\n\r\n"
    assert without_upgrade(head + BODY) == head.replace(b"upgrade :", b"x-not-taken :") + BODY
    plain = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n" + BODY
    assert without_upgrade(plain) is plain


@pytest.mark.parametrize(
    "said", [b"", b"GET /health/live HTTP/1.1\r\nhost", b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\nGE"]
)
def test_who_asks_nothing_is_hung_up_on(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a whole head, from its start or after an answer, ends after a while."""
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.3)
    with running_gateway("127.0.0.1:9") as gateway, connected(gateway) as connection:
        connection.sendall(said)
        begin = time.monotonic()
        while connection.recv(65536):
            pass
        assert 0.2 < time.monotonic() - begin < 5
