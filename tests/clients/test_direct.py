"""Straight to Triton: a gateway's answers without a gateway."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
from PIL import Image

from builder.__main__ import main as build
from clients import AsyncDirectClient, DirectClient, GatewayClient, Result
from clients.deadline import Deadline
from clients.photos import Photo
from tests.builder.yolos import METADATA, yolo
from tests.clients.conftest import colours
from tests.clients.slow_photo import filled_by_the_loop
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import BALLOONS, encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import colour_contract, colour_graph, write_model
from tests.vision.encoded import noise
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    DeadlineExceeded,
    InvalidArgument,
    InvalidImage,
    ModelNotReady,
    UnknownModel,
    WireError,
)

BUNDLE = Path(__file__).parents[2] / "recipes" / "balloon-rtmdet" / "sdk"
RED = encoded(64, 48, (0, 0, 255), ".png")
MODELS = ("direct_balloon", "direct_colour", "direct_yolo")


@pytest.fixture(scope="module")
def real(triton: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    """A detector that ends its graph with boxes, one that does not, and a classifier."""
    path = tmp_path_factory.mktemp("yolo") / "yolo.onnx"
    onnx.save(yolo("v8", metadata=METADATA), str(path))
    for source, name in ((BUNDLE, "direct_balloon"), (path, "direct_yolo")):
        assert build(["import", str(source), "--name", name, "--repository", str(triton.repository)]) == 0
    write_model(triton.repository, "direct_colour", colour_contract(), colour_graph())
    for name in MODELS:
        triton.load(name)
    yield triton
    for name in MODELS:
        triton.unload(name)


@pytest.fixture
def client(fake: FakeTriton) -> Iterator[DirectClient]:
    with DirectClient(fake.address, timeout_s=10) as client:
        yield client


def facts(result: Result) -> str:
    return result.model_dump_json(exclude={"timings_ms"})


@pytest.mark.triton
@pytest.mark.parametrize("model", MODELS)
def test_its_answers_are_the_gateways(real: LocalTriton, model: str, tmp_path: Path) -> None:
    """To the last digit, on a photo with balloons and on one of noise, in every form a photo may have."""
    ok, data = cv2.imencode(".png", noise(90, 130))
    assert ok
    png = tmp_path / "noise.png"
    png.write_bytes(data.tobytes())
    with (
        running_gateway(real.address) as gateway,
        GatewayClient(gateway.url) as over_http,
        DirectClient(real.address) as direct,
        Image.open(png) as picture,
    ):
        photos: list[Photo] = [BALLOONS, png, noise(90, 130), noise(90, 130)[..., 0].copy(), picture]
        found = 0
        for photo in photos:
            ours, theirs = direct.predict(photo, model), over_http.predict(photo, model)
            assert facts(ours) == facts(theirs)
            phases = ["decode", "preprocess", "serialise", "transport", "deserialise", "postprocess", "total"]
            assert list(ours.timings_ms) == phases
            found += len(ours.detections or ours.classes or ())
    assert found > 3


@pytest.mark.triton
def test_a_version_that_is_published_meanwhile_is_used(triton: LocalTriton) -> None:
    """The one that was known is gone from Triton: its caller hears nothing of it."""
    write_model(triton.repository, "direct_new", colour_contract(), colour_graph())
    triton.load("direct_new")
    with DirectClient(triton.address) as client:
        assert client.predict(RED, "direct_new").version == "1"
        write_model(triton.repository, "direct_new", colour_contract(), colour_graph(), version=2)
        triton.load("direct_new")
        eventually(lambda: client.predict(RED, "direct_new").version == "2", within_s=10)
    triton.unload("direct_new")


@pytest.mark.parametrize("model", ["colour", "spot"])
def test_options_are_the_gateways(client: DirectClient, gateway: RunningGateway, model: str) -> None:
    """What the contract decides, what the caller does, and what is refused with the same words."""
    with GatewayClient(gateway.url) as over_http:
        for threshold in (None, 0.5, 0.8, 1):
            ours = client.predict(RED, model, score_threshold=threshold)
            assert facts(ours) == facts(over_http.predict(RED, model, score_threshold=threshold))
        wrong = {"score_threshold": 1.5} if model == "spot" else {"max_detections": 3}
        messages = []
        for asked in (client, over_http):
            with pytest.raises(InvalidArgument) as caught:
                asked.predict(RED, model, **wrong)
            messages.append(caught.value.detail.replace("'1.5'", "1.5"))
        assert messages[0] == messages[1]


def test_what_is_wrong_has_the_gateways_errors(client: DirectClient, fake: FakeTriton) -> None:
    """By class, and with what to do."""
    with pytest.raises(UnknownModel, match="no model 'none'; the models are: colour, spot"):
        client.predict(RED, "none")
    with pytest.raises(InvalidImage):
        client.predict(b"text", "colour")
    with pytest.raises(FileNotFoundError):
        client.predict("there/is/none.jpg", "colour")
    fake.models["broken"] = FakeModel(colour_contract(), embedded="")
    try:
        with pytest.raises(ModelNotReady, match=r"'broken' is not ready: .*contract"):
            client.predict(RED, "broken")
    finally:
        del fake.models["broken"]
    fake.failure = "model raised"
    try:
        with pytest.raises(BackendFailure):
            client.predict(RED, "colour")
    finally:
        fake.failure = None


def test_without_triton_it_says_so() -> None:
    """Nobody listens there."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with DirectClient(address) as client, pytest.raises(BackendUnavailable, match=f"Triton at {address}"):
        client.predict(RED, "colour")


def test_nothing_lasts_longer_than_the_deadline(fake: FakeTriton) -> None:
    """A model that hangs, and a server that never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (fake.address, f"127.0.0.1:{silent.getsockname()[1]}"):
            fake.hangs = True
            try:
                with DirectClient(address, timeout_s=0.5) as client, pytest.raises(DeadlineExceeded, match=r" 0\.5 s"):
                    client.predict(RED, "colour")
            finally:
                fake.hangs = False
    eventually(lambda: fake.running == 0, within_s=5)


def test_whoever_says_first_that_it_is_late_the_words_are_the_same(
    fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call to Triton has what is left of the deadline: which of two timers for one moment is first is chance."""
    left_s = Deadline.remaining_s
    monkeypatch.setattr(Deadline, "remaining_s", lambda deadline: left_s(deadline) - 0.05)
    fake.hangs = True
    try:
        with DirectClient(fake.address, timeout_s=0.5) as client, pytest.raises(DeadlineExceeded, match=r" 0\.5 s"):
            client.predict(RED, "colour")
    finally:
        fake.hangs = False


def test_a_queue_that_gave_a_request_up_keeps_its_words(client: DirectClient, fake: FakeTriton) -> None:
    """Its own time was shorter: there is some left of the caller's."""
    fake.failure = "queue timeout"
    try:
        with pytest.raises(DeadlineExceeded, match="too long in the model's queue"):
            client.predict(RED, "colour")
    finally:
        fake.failure = None


@pytest.mark.anyio
async def test_reading_and_decoding_leave_the_loop_free(fake: FakeTriton, tmp_path: Path) -> None:
    """All that is done with pixels is done in threads."""
    async with AsyncDirectClient(fake.address, timeout_s=10) as client:
        expected = facts(await client.predict(RED, "colour")).replace("null", '"photo"', 1)
        async with filled_by_the_loop(tmp_path / "photo", RED):
            predicting = asyncio.create_task(client.predict(tmp_path / "photo", "colour"))
        assert facts(await predicting) == expected


@dataclass
class Listing(FakeTriton):
    """Counts how often its models are listed."""

    listed: int = 0

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        self.listed += 1
        return await super().RepositoryIndex(request, context)


@dataclass
class Broken(FakeTriton):
    """Cannot list its models while `unlisted`; publishes `coming` in place of `colour` with the next request for it."""

    unlisted: bool = False
    coming: FakeModel | None = None

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.unlisted:
            await self._fail("load of an unknown model", context)
        return await super().RepositoryIndex(request, context)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.coming is not None:
            self.models["colour"], self.coming = self.coming, None
            await self._fail("unloaded", context)
        return await super().ModelInfer(request, context)


@pytest.mark.anyio
async def test_a_repository_that_cannot_be_listed_does_not_stop_a_known_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some other entry of it is broken; of a model that is not known nothing can be said."""
    monkeypatch.setattr("clients.direct.LOOK_AGAIN_S", 0.0)
    models = {name: FakeModel(colour_contract(), colours) for name in ("colour", "other")}
    async with Broken(models) as fake, AsyncDirectClient(fake.address) as client:
        await client.predict(RED, "colour")
        fake.unlisted = True
        for _ in range(2):
            assert (await client.predict(RED, "colour")).classes
        with pytest.raises(WireError):
            await client.predict(RED, "other")
        fake.failure = "unloaded"
        with pytest.raises(ModelNotReady, match="colour"):
            await client.predict(RED, "colour")


@pytest.mark.anyio
async def test_a_model_that_is_published_anew_under_its_version_is_used() -> None:
    """Its caller hears nothing of that either; without anything new the failure is told, after one attempt."""
    old = colour_contract()
    new = FakeModel(old.model_copy(update={"labels": ("red", "green", "blue")}), colours)
    async with Broken({"colour": FakeModel(old, colours)}) as fake, AsyncDirectClient(fake.address) as client:
        before = await client.predict(RED, "colour")
        fake.coming = new
        after = await client.predict(RED, "colour")
        fake.coming = new
        with pytest.raises(ModelNotReady):
            await client.predict(RED, "colour")
    assert before.classes is not None
    assert after.classes is not None
    assert (before.classes[0].label, after.classes[0].label) == ("red", "blue")
    assert len(fake.received) == 2


@pytest.mark.anyio
async def test_many_at_once_look_the_model_up_once() -> None:
    """As many as the caller likes: the model's queue is the limit."""
    async with Listing({"colour": FakeModel(colour_contract(), colours)}) as fake:
        async with AsyncDirectClient(fake.address) as client:
            photos = [encoded(32, 32, colour, ".png") for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))] * 10
            results = await asyncio.gather(*(client.predict(photo, "colour") for photo in photos))
        assert [result.classes[0].label_id for result in results if result.classes] == [0, 1, 2] * 10
        assert fake.listed == 1


def test_it_may_be_shared_by_threads_and_leaves_none_behind(fake: FakeTriton) -> None:
    """Closed twice is closed; after that, it says so."""
    client = DirectClient(fake.address)
    with client:
        threads = [threading.Thread(target=client.predict, args=(RED, "spot")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    client.close()
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("jetserve-")], within_s=5)
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.predict(RED, "spot")
