"""The gateway's Python client, over real sockets."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clients import GatewayClient
from clients.httpx_errors import translated
from clients.results import Box, Class, Detection
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway
from tests.ports import free_ports
from tests.tiny_models import colour_contract, spot_contract
from vision.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidArgument,
    InvalidImage,
    JetserveError,
    TooLarge,
    UnknownModel,
)

RED_PHOTO = encoded(64, 48, (0, 0, 255), ".png")


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[GatewayClient]:
    with GatewayClient(gateway.url) as client:
        yield client


def test_a_photo_is_predicted(client: GatewayClient, tmp_path: Path) -> None:
    """By path, as text or not, and as bytes; the result knows the file's name."""
    photo = tmp_path / "red.png"
    photo.write_bytes(RED_PHOTO)
    for given, name in ((photo, "red.png"), (str(photo), "red.png"), (RED_PHOTO, None)):
        result = client.predict(given, "colour")
        assert (result.model, result.version, result.name) == ("colour", "1", name)
        assert (result.width, result.height, result.detections) == (64, 48, None)
        assert result.classes is not None
        assert result.classes[0] == Class(label="red", label_id=2, score=1.0)
        assert result.timings_ms["total"] > 0


def test_objects_are_typed_too(client: GatewayClient) -> None:
    """In pixels of the photo."""
    result = client.predict(RED_PHOTO, "spot")
    assert result.classes is None
    box = Box(x1=16, y1=6, x2=32, y2=18)
    assert result.detections == (Detection(box=box, label="spot", label_id=0, score=0.75),)


def test_parameters_reach_the_gateway(client: GatewayClient) -> None:
    """All three."""
    assert len(client.predict(RED_PHOTO, "colour", top_k=1).classes or ()) == 1
    assert client.predict(RED_PHOTO, "spot", score_threshold=0.8).detections == ()
    assert client.predict(RED_PHOTO, "spot", score_threshold=0.75).detections == ()  # kept are scores above it
    assert len(client.predict(RED_PHOTO, "spot", score_threshold=0.7499).detections or ()) == 1
    assert client.predict(RED_PHOTO, "spot", max_detections=1).detections != ()
    with pytest.raises(InvalidArgument, match="top_k"):
        client.annotated(RED_PHOTO, "spot", top_k=1)


def test_a_picture_is_drawn(client: GatewayClient) -> None:
    """As the type that is asked for."""
    assert client.annotated(RED_PHOTO, "spot").startswith(b"\xff\xd8\xff")
    assert client.annotated(RED_PHOTO, "spot", "image/png").startswith(b"\x89PNG")


def test_models_are_listed(client: GatewayClient) -> None:
    """All, and one."""
    assert [model.name for model in client.models()] == ["colour", "spot"]
    one = client.model("colour")
    assert dict(one) == dict(client.models()[0]) | {"contract": one.contract, "replicas": None}
    assert one.labels == ("blue", "green", "red")
    assert client.ready()


def test_one_model_comes_with_its_contract(client: GatewayClient, fake: FakeTriton) -> None:
    """The whole of it, as the builder wrote it; none where Triton holds no valid one."""
    assert client.model("spot").contract == spot_contract()
    fake.models["bare"] = FakeModel(colour_contract(), embedded="")
    try:
        bare = client.model("bare")
    finally:
        del fake.models["bare"]
        client.models()  # the gateway looks
    assert (bare.ready, bare.contract) == (False, None)


def test_the_gateways_errors_are_raised_as_themselves(client: GatewayClient) -> None:
    """With the gateway's message."""
    with pytest.raises(UnknownModel, match="the models are: colour, spot"):
        client.predict(RED_PHOTO, "balloon")
    with pytest.raises(InvalidImage):
        client.predict(b"text", "colour")
    with pytest.raises(TooLarge):
        client.predict(bytes(30_000_000), "colour")
    with pytest.raises(FileNotFoundError):
        client.predict("there/is/none.jpg", "colour")


def test_a_model_that_is_not_ready_makes_the_gateway_unready(client: GatewayClient, fake: FakeTriton) -> None:
    """`ready` says whether, `require_ready` why not."""
    states = [model.state for model in fake.models.values()]
    for model in fake.models.values():
        model.state = "UNAVAILABLE"
    client.models()  # the gateway looks
    assert not client.ready()
    with pytest.raises(JetserveError, match="no model is ready"):
        client.require_ready()
    for model, state in zip(fake.models.values(), states, strict=True):
        model.state = state
    client.models()
    assert client.ready()


def test_without_a_gateway_it_says_how_to_start_one() -> None:
    """Nobody listens there."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with GatewayClient(url) as client:
        with pytest.raises(BackendUnavailable, match=f"no gateway at {url} .*start one with `make run`"):
            client.predict(RED_PHOTO, "colour")
        assert not client.ready()


def test_an_answer_that_does_not_come_is_a_deadline() -> None:
    """After the client's own time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = GatewayClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1)
        with client, pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
            client.models()


def test_a_connection_that_breaks_is_unavailable() -> None:
    """In the middle of an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = GatewayClient(f"http://127.0.0.1:{server.getsockname()[1]}", retries=0)
        with client, pytest.raises(BackendUnavailable, match=r"broke .*send the request again"):
            client.models()
        thread.join()


@pytest.mark.parametrize("url", ["localhost:8080", "gateway", "http://gateway:port", "ftp://gateway", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    """With one that is."""
    with pytest.raises(InvalidArgument, match="it looks like http://127"), GatewayClient(url) as client:
        client.models()


WITHOUT_MESSAGE = {httpx.StreamConsumed, httpx.ResponseNotRead, httpx.RequestNotRead, httpx.StreamClosed}


def test_everything_httpx_raises_becomes_ours() -> None:
    """A new class of theirs must not reach a caller."""
    # HTTPStatusError comes from raise_for_status alone, which is not called.
    classes = [*_leaves(httpx.HTTPError), *_leaves(httpx.StreamError), httpx.InvalidURL]
    assert len(classes) > 15
    for cls in (cls for cls in classes if cls is not httpx.HTTPStatusError):
        error = cls() if cls in WITHOUT_MESSAGE else cls("?")
        with pytest.raises(JetserveError), translated("http://gateway", 1):
            raise error


def _leaves(cls: type[Exception]) -> list[type[Exception]]:
    below = cls.__subclasses__()
    return [leaf for sub in below for leaf in _leaves(sub)] if below else [cls]


def test_it_may_be_shared_by_threads(client: GatewayClient) -> None:
    """One client, one pool of connections."""
    results: list[str] = []

    def predict(colour: tuple[int, int, int]) -> None:
        for _ in range(5):
            classes = client.predict(encoded(40, 40, colour, ".png"), "colour").classes
            assert classes is not None
            results.append(f"{colour.index(255)}{classes[0].label_id}")

    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    threads = [threading.Thread(target=predict, args=(colour,)) for colour in colours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["00"] * 5 + ["11"] * 5 + ["22"] * 5


def test_importing_it_brings_no_server() -> None:
    """A script that asks a gateway needs neither gRPC nor OpenCV nor the gateway's own code."""
    unwanted = ("gateway", "tritonclient", "grpc", "fastapi", "cv2", "PIL")
    code = f"import sys; from clients import GatewayClient; print([m for m in {unwanted} if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


BARE = """
import sys
sys.modules |= dict.fromkeys(("httpx", "grpc", "tritonclient", "rich", "websockets"))
import clients, clients.results, clients.wire, clients.photos
for name in ("GatewayClient", "AsyncGatewayClient", "DirectClient", "AsyncDirectClient"):
    try:
        getattr(clients, name)
    except ImportError as exc:
        print(exc)
"""


def test_what_needs_no_extra_is_there_without_the_extras() -> None:
    """And each client says which one it needs."""
    ended = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    needs = {
        "GatewayClient": "httpx",
        "AsyncGatewayClient": "httpx",
        "DirectClient": "grpc",
        "AsyncDirectClient": "grpc",
    }
    extras = {"httpx": "clients", "grpc": "triton"}
    assert ended.stdout.splitlines() == [
        f"{name} needs {module}: install jetserve with its `{extras[module]}` extra" for name, module in needs.items()
    ]


def test_the_developers_own_settings_do_not_reach_these_tests() -> None:
    """A wrong one would fail every test that starts a gateway."""
    test = f"{__file__}::test_objects_are_typed_too"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = os.environ | {"GATEWAY_PERMITS": "many", "gateway_max_files": "none"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
