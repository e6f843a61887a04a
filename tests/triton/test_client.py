"""`TritonClient` against a real Triton: what it finds, how it comes back, and the bytes it sends."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from clients.triton.client import TritonClient
from clients.triton.messages import request_bytes, varint
from tests.fake_triton import FakeModel, FakeTriton
from tests.local_triton import LocalTriton
from tests.tiny_models import SIDE, colour_contract, colour_graph, spot_contract, spot_graph, write_model
from tests.triton.situations import SCRIPT
from vision.contract import Contract
from vision.errors import BackendFailure, BackendUnavailable, DeadlineExceeded, UnknownModel

pytestmark = pytest.mark.anyio

CONTRACT = colour_contract()
BATCH = np.zeros((1, SIDE, SIDE, 3), np.uint8)


@pytest.fixture
async def client(triton: LocalTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton.address) as opened:
        yield opened


def renamed(contract: Contract) -> Contract:
    return contract.model_copy(update={"input": contract.input.model_copy(update={"name": "image"})})


@pytest.mark.triton
@pytest.mark.parametrize(
    ("embedded", "problem"),
    [
        ("", "has no parameter `contract`"),
        ("{}", "schema_version: Field required"),
        (renamed(CONTRACT).to_json(), r"contract and config.pbtxt differ: input \[\('image'"),
        (colour_contract(max_batch=2).to_json(), "max_batch 2 in the contract, 8 in config.pbtxt"),
        (spot_contract().to_json(), r"output \('dets', 'FP32', \(-1, 5\)\) in the contract"),
    ],
)
async def test_contracts_that_do_not_serve(
    triton: LocalTriton, client: TritonClient, embedded: str, problem: str
) -> None:
    """A model without a contract that fits its configuration is not ready, and the reason says what differs."""
    write_model(triton.repository, "odd", CONTRACT, colour_graph(), embedded_contract=embedded)
    triton.load("odd")
    (found,) = [model for model in await client.models() if model.name == "odd"]
    assert not found.ready
    assert found.contract is None
    with pytest.raises(BackendFailure, match=problem):
        raise BackendFailure(found.problem or "")


@pytest.mark.triton
async def test_states(triton: LocalTriton, client: TritonClient) -> None:
    """A model is followed from never loaded through ready to unloaded, and one that fails says why, on one line."""
    write_model(triton.repository, "state", spot_contract(), spot_graph())
    write_model(triton.repository, "stubborn", CONTRACT, script=SCRIPT, parameters={"refuse": "1"})

    async def state(name: str) -> tuple[bool, str | None]:
        (found,) = [model for model in await client.models() if model.name == name]
        return found.ready, found.problem

    unloaded = (False, "it is not loaded: python -m clients load state")
    assert await state("state") == unloaded
    await client.load("state")
    assert await state("state") == (True, None)
    await client.unload("state")
    with anyio.fail_after(20):
        while await state("state") != unloaded:  # noqa: ASYNC110 - Triton tells nobody
            await anyio.sleep(0.02)
    with pytest.raises(RuntimeError, match="cannot be read"):
        triton.load("stubborn")
    ready, problem = await state("stubborn")
    assert not ready
    assert problem == "it failed to load: Internal: RuntimeError: these weights cannot be read"


@pytest.mark.triton
async def test_new_version(triton: LocalTriton, client: TritonClient) -> None:
    """After a new version is loaded it is the one that is listed and that answers."""
    write_model(triton.repository, "grows", CONTRACT, colour_graph())
    await client.load("grows")
    write_model(triton.repository, "grows", CONTRACT, colour_graph(), version=2)
    await client.load("grows")
    (found,) = [model for model in await client.models() if model.name == "grows"]
    assert (found.version, found.ready) == ("2", True)
    assert (await client.infer("grows", "", CONTRACT, BATCH, timeout_s=5)).version == "2"


@pytest.mark.triton
async def test_several_versions(triton: LocalTriton, client: TritonClient) -> None:
    """Of several ready versions the highest is listed, each answers by its name, and an unknown one is unknown."""
    for version in (9, 10):
        folder = write_model(triton.repository, "several", CONTRACT, colour_graph(), version=version)
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("versions: [10]", "versions: [9, 10]"))
    await client.load("several")
    (found,) = [model for model in await client.models() if model.name == "several"]
    assert found.version == "10"
    answers = [await client.infer("several", version, CONTRACT, BATCH, timeout_s=5) for version in ("9", "10")]
    assert [answer.version for answer in answers] == ["9", "10"]
    with pytest.raises(UnknownModel):
        await client.infer("several", "11", CONTRACT, BATCH, timeout_s=5)


@pytest.mark.triton
async def test_what_is_being_published_is_no_model(triton: LocalTriton, client: TritonClient) -> None:
    """A folder that the builder is still filling (`.staging-…`) is not listed."""
    write_model(triton.repository, ".staging-x7", colour_contract(), colour_graph())
    assert not [model.name for model in await client.models() if model.name.startswith(".")]


@pytest.mark.triton
async def test_what_a_file_system_makes_is_no_model(triton: LocalTriton, client: TritonClient) -> None:
    """Triton lists every folder: the `lost+found` of a disk is left out, one that somebody made is not."""
    for name in ("lost+found", "my model", "nothing-in-it"):
        (triton.repository / name).mkdir()
    assert {"lost+found", "my model"} <= {entry["name"] for entry in triton.post("v2/repository/index")}
    listed = {model.name for model in await client.models()}
    assert {"my model", "nothing-in-it"} <= listed
    assert "lost+found" not in listed


@pytest.mark.triton
async def test_reconnects(triton: LocalTriton, client: TritonClient) -> None:
    """A client that lost its Triton for seconds answers again within one second of its return.

    Time in which the machine stood still counts for little.
    """
    write_model(triton.repository, "returns", CONTRACT, colour_graph())
    triton.load("returns")
    assert await seconds_to_return(triton, client) < 1


async def seconds_to_return(triton: LocalTriton, client: TritonClient) -> float:
    """From when Triton answers again to when the client does, in turns none of which counts as more than 0.3 s."""
    await client.infer("returns", "", CONTRACT, BATCH, timeout_s=5)
    triton.kill()
    for _ in range(8):  # gRPC's own pause would by then have grown to 2.5 s
        with pytest.raises(BackendUnavailable):
            await client.infer("returns", "", CONTRACT, BATCH, timeout_s=5)
        await anyio.sleep(0.3)
    assert not await client.live()
    await anyio.to_thread.run_sync(triton.start)
    took_s, is_back = 0.0, False
    while not is_back:
        turn_s = time.monotonic()
        is_back = await client.live()
        await anyio.sleep(0.02)
        took_s += min(time.monotonic() - turn_s, 0.3)
    await client.infer("returns", "", CONTRACT, BATCH, timeout_s=5)
    return took_s


async def test_a_lost_triton_is_tried_again_within_half_a_second() -> None:
    """However long it is away: gRPC's own pauses would be 1, 1.6, 2.6, 4.1, … up to 120 s."""
    arrived_s = []

    def refuse(_: asyncio.StreamReader, connection: asyncio.StreamWriter) -> None:
        arrived_s.append(time.monotonic())
        connection.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with TritonClient(f"127.0.0.1:{port}") as client:
            with anyio.fail_after(20):
                while len(arrived_s) < 8:
                    assert not await client.live()
                    await anyio.sleep(0.02)
    pauses_s = [after - before for before, after in itertools.pairwise(arrived_s)]
    assert statistics.median(pauses_s) < 0.8, pauses_s


async def test_proxies_are_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not asked for Triton."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with FakeTriton({"tiny": FakeModel(CONTRACT)}) as fake, TritonClient(fake.address) as client:
        assert await client.live()


class LostWhileListing(FakeTriton):
    """Lists its models, then goes away, or silent."""

    silent = False

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        if self.silent:
            await anyio.sleep(5)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@pytest.mark.parametrize("silent", [False, True])
async def test_triton_lost_while_it_lists(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    """A Triton that goes away or silent between two answers is unreachable; its models are not to blame."""
    monkeypatch.setattr("clients.triton.client.CONTROL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(LostWhileListing, "silent", silent)
    async with LostWhileListing({"tiny": FakeModel(CONTRACT)}) as fake, TritonClient(fake.address) as client:
        with pytest.raises(BackendUnavailable):
            await client.models()


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ({}, "output 'scores' is missing"),
        ({"scores": np.zeros((1, 3), np.int64)}, "output 'scores' is INT64, the contract says FP32"),
    ],
)
async def test_answers_that_break_the_contract(outputs: dict[str, np.ndarray], problem: str) -> None:
    """An output that is missing or of another dtype is the backend's failure, and is named."""
    model = FakeModel(CONTRACT, answer=lambda _: outputs)
    async with FakeTriton({"tiny": model}) as fake, TritonClient(fake.address) as client:
        with pytest.raises(BackendFailure, match=problem):
            await client.infer("tiny", "", CONTRACT, BATCH, timeout_s=5)


async def test_empty_buffers_are_noticed() -> None:
    """An output with fewer bytes than its shape says, as NumPy 2 in the backend sends, is no answer."""
    async with FakeTriton({"tiny": FakeModel(CONTRACT)}, empty=True) as fake, TritonClient(fake.address) as client:
        with pytest.raises(BackendFailure, match=r"shape \(1, 3\) came with 0 bytes; is NumPy 2"):
            await client.infer("tiny", "", CONTRACT, BATCH, timeout_s=5)


async def test_deadlines() -> None:
    """The deadline is told to Triton in microseconds, and one that has passed asks nobody."""
    async with FakeTriton({"tiny": FakeModel(CONTRACT)}) as fake, TritonClient(fake.address) as client:
        await client.infer("tiny", "", CONTRACT, BATCH, timeout_s=2.5)
        with pytest.raises(DeadlineExceeded, match="had passed"):
            await client.infer("tiny", "", CONTRACT, BATCH, timeout_s=0)
        assert [received.timeout_us for received in fake.received] == [2_500_000]


async def test_wrong_pixels_are_not_sent() -> None:
    """A batch of another dtype than the contract's is refused before it is sent."""
    with pytest.raises(BackendFailure, match="input 'input' is UINT8, got float32"):
        request_bytes("tiny", "", CONTRACT, BATCH.astype(np.float32), 1.0)


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_requests_are_protobuf(rows: int) -> None:
    """The request put together by hand is the one that protobuf reads, whatever the batch's memory order."""
    batch = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3, rows), np.uint8).transpose(3, 0, 1, 2)
    read = service_pb2.ModelInferRequest.FromString(request_bytes("tiny", "7", CONTRACT, batch, 0.25))
    assert (read.model_name, read.model_version) == ("tiny", "7")
    assert read.parameters["timeout"].int64_param == 250_000
    assert [(t.name, t.datatype, tuple(t.shape)) for t in read.inputs] == [("input", "UINT8", batch.shape)]
    assert list(read.raw_input_contents) == [batch.tobytes()]
    assert [output.name for output in read.outputs] == ["scores"]


@given(st.integers(0, 2**63 - 1))
def test_varints_are_protobuf(number: int) -> None:
    """Lengths are written as protobuf writes them."""
    tag = b"\x18"  # field 3 of a ModelConfigRequest does not exist: protobuf keeps it as it came
    message = service_pb2.ModelConfigRequest.FromString(tag + varint(number))
    assert message.SerializeToString() == tag + varint(number)
