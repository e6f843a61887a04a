"""Settings of a model for a while, through Triton's model control, while a gateway serves it."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest

from builder.publishing.publication import Publication, published
from builder.publishing.triton_config import Serving
from builder.verify import Side
from clients.__main__ import main
from clients.triton.client import TritonClient
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, no_settings, running_gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model
from vision.errors import InvalidArgument, UnknownModel
from vision.serving import ServingSettings

pytestmark = [pytest.mark.triton, pytest.mark.anyio]

NAME = "set_otherwise"
PUBLISHED = ServingSettings(instances=1, threads=1, preferred_batch=(4,), queue_delay_us=0)
"""Triton fills in the largest batch."""
PHOTO = encoded(40, 30)


@pytest.fixture(scope="module")
def repository(triton: LocalTriton) -> None:
    put(triton, b"")


def put(triton: LocalTriton, note: bytes) -> None:
    """Publish a version; another `note` makes another."""
    graph = colour_graph()
    graph.doc_string = note.decode()
    side = Side(graph.SerializeToString(), colour_contract(max_batch=4))
    published(side, Publication(triton.repository, NAME, Serving(threads=1)))


@pytest.fixture
async def client(triton: LocalTriton, repository: None) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton.address) as opened:
        await opened.load(NAME)
        yield opened
        await opened.load(NAME)


@pytest.fixture
def gateway(triton: LocalTriton) -> Iterator[RunningGateway]:
    with no_settings(), running_gateway(triton.address) as running:
        yield running


@contextmanager
def asking(gateway: RunningGateway, users: int = 4) -> Iterator[list[int]]:
    """The statuses of users who ask without a pause."""
    statuses: list[int] = []
    stop = threading.Event()

    def user() -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            while not stop.is_set():
                headers = {"content-type": "image/jpeg"}
                statuses.append(http.post(f"/v1/models/{NAME}/predict", content=PHOTO, headers=headers).status_code)

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


async def test_settings_come_and_go_while_it_serves(client: TritonClient, gateway: RunningGateway) -> None:
    """Every one is in force after its load, a plain load takes all back, and no request is lost meanwhile."""
    eventually(lambda: gateway.predict(NAME, PHOTO).status_code == 200, within_s=10)
    steps = (
        (ServingSettings(instances=2, preferred_batch=(2, 4), queue_delay_us=300, threads=0), (2, 0, (2, 4), 300)),
        (ServingSettings(threads=2), (1, 2, (4,), 0)),  # what it leaves open is as it was published
        (None, (1, 1, (4,), 0)),
    )
    with asking(gateway) as statuses:
        for settings, wanted in steps:
            await client.load(NAME, settings)
            now = await client.serving(NAME)
            assert (now.instances, now.threads, now.preferred_batch, now.queue_delay_us) == wanted
            seen = len(statuses)
            eventually(lambda seen=seen: len(statuses) > seen + 20, within_s=20)  # type: ignore[misc]
    assert set(statuses) == {200}


async def test_what_cannot_be_changes_nothing(client: TritonClient) -> None:
    """Refused before Triton is asked for it, and the model is as it was."""
    for settings in (ServingSettings(preferred_batch=(8,)), ServingSettings(preferred_batch=(4, 5))):
        with pytest.raises(InvalidArgument, match="batches of 1 to 4"):
            await client.load(NAME, settings)
        assert await client.serving(NAME) == PUBLISHED
    with pytest.raises(UnknownModel):
        await client.load("nobody", ServingSettings(instances=2))


async def test_a_version_published_meanwhile_is_loaded(client: TritonClient, triton: LocalTriton) -> None:
    """A load is a load: it takes what the folder holds now, with the settings or without."""
    await client.load(NAME, ServingSettings(instances=2))
    put(triton, b"another")
    await client.load(NAME, ServingSettings(instances=3))
    [model] = [model for model in await client.models() if model.name == NAME]
    assert model.version == "2"
    assert (await client.serving(NAME)).instances == 3
    await client.load(NAME)
    assert await client.serving(NAME) == PUBLISHED


async def test_one_that_is_not_loaded(client: TritonClient) -> None:
    """It is loaded, with the settings."""
    await client.unload(NAME)
    await client.load(NAME, ServingSettings(instances=2))
    assert (await client.serving(NAME)).instances == 2


def test_on_the_command_line(triton: LocalTriton, repository: None, capsys: pytest.CaptureFixture[str]) -> None:
    """`load` says what is in force now, and until when."""
    command = ["load", NAME, "--triton", triton.address]
    assert main([*command, "--instances", "2", "--queue-delay-us", "500"]) == 0
    said = capsys.readouterr().out
    assert (
        f"{NAME}: loaded, until the next load with instances 2, threads 1, preferred_batch 4, queue_delay_us 500"
        in said
    )
    assert main([*command, "--preferred-batch", "64"]) == 1
    assert "takes batches of 1 to 4" in capsys.readouterr().err
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == f"{NAME}: loaded"


async def test_one_that_triton_does_not_batch(client: TritonClient, triton: LocalTriton) -> None:
    """By hand it may be made so; to set what concerns batches is refused, and nothing else makes Triton batch it."""
    folder = write_model(triton.repository, "unbatched", colour_contract(), colour_graph())
    config = folder / "config.pbtxt"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith("dynamic_batching")))
    with pytest.raises(InvalidArgument, match="not batched by Triton"):
        await client.load("unbatched", ServingSettings(queue_delay_us=500))
    for settings in (ServingSettings(instances=2), None):
        await client.load("unbatched", settings)
        now = await client.serving("unbatched")
        assert (now.preferred_batch, now.queue_delay_us) == (None, None)
