"""What Triton says when it fails, and which of our errors that becomes."""

import asyncio
import json

import anyio
import grpc
import pytest

from clients.triton.client import TritonClient
from clients.triton.errors import OTHER, ROWS, error_from_status, row_of
from tests.fake_triton import FakeModel, FakeTriton
from tests.local_triton import ROOT, LocalTriton
from tests.triton.situations import CONTRACT, RECORD, SITUATIONS, infer, prepare, said
from vision.errors import CapacityError, DeadlineExceeded, WireError, wire_errors

RECORDED = json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def failing(triton: LocalTriton) -> LocalTriton:
    """The real Triton with models that fail."""
    prepare(triton)
    return triton


@pytest.mark.anyio
@pytest.mark.triton
@pytest.mark.parametrize("name", SITUATIONS)
async def test_real_failures(name: str, failing: LocalTriton) -> None:
    """Each failure of a real Triton becomes its error, and is still worded as it was recorded."""
    situation = SITUATIONS[name]
    async with TritonClient(failing.address) as client:
        with pytest.raises(situation.error) as caught:
            await situation.provoke(failing, client)
    assert said(caught.value, failing) == RECORDED["situations"][name]


@pytest.mark.parametrize("name", SITUATIONS)
def test_recorded_failures(name: str) -> None:
    """The record covers every situation, and the table maps it without a Triton to ask."""
    recorded = RECORDED["situations"][name]
    error = error_from_status(recorded["status"], recorded["message"], "Triton")
    assert type(error) is SITUATIONS[name].error
    assert "\n" not in error.detail


@pytest.mark.anyio
@pytest.mark.parametrize("name", sorted(RECORDED["situations"]))
async def test_fake_failures(name: str) -> None:
    """The fake, told to fail, fails like the real one."""
    async with FakeTriton({"tiny": FakeModel(CONTRACT)}, failure=name) as fake, TritonClient(fake.address) as client:
        with pytest.raises(SITUATIONS[name].error):
            await infer(client, "tiny")


@pytest.mark.parametrize("status", [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_no_status_is_unmapped(status: str) -> None:
    """Whatever Triton or gRPC answers is an error with a kind, and a capacity error says when to try again."""
    error = error_from_status(status, "", "Triton")
    assert error.kind in wire_errors()
    assert not isinstance(error, CapacityError) or error.retry_after_s > 0


def test_every_row_can_be_reached() -> None:
    """No row is hidden by one above it."""
    assert [row_of(row.status, f"… {row.contains} …") for row in ROWS] == list(ROWS)
    assert row_of("RESOURCE_EXHAUSTED", "") == OTHER


def test_the_table_is_documented() -> None:
    """docs/04-triton.md shows every row that has a message, with its status and our kind."""
    table = (ROOT / "docs" / "04-triton.md").read_text()
    for row in ROWS:
        if row.contains:
            assert f"| {row.status} | `{row.contains}` | `{row.error.kind}` |" in table


@pytest.mark.anyio
async def test_a_closed_client_says_so() -> None:
    """A client that was closed answers with an error of ours."""
    async with FakeTriton({"tiny": FakeModel(CONTRACT)}) as fake:
        client = TritonClient(fake.address)
        await infer(client, "tiny")
        await client.close()
        with pytest.raises(WireError, match="closed on this side"):
            await infer(client, "tiny")


@pytest.mark.anyio
async def test_who_is_cancelled_leaves_triton_to_end_it() -> None:
    """Cancellation is no error of ours, and does not reach Triton, which may crash of it; the same at the deadline."""
    async with FakeTriton({"tiny": FakeModel(CONTRACT)}, hangs=True) as fake, TritonClient(fake.address) as client:
        request = asyncio.create_task(infer(client, "tiny"))
        await fake.entered.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        with pytest.raises(DeadlineExceeded):
            await infer(client, "tiny", timeout_s=0.2)
        assert client.left == 2
        with anyio.fail_after(20):
            while fake.running < 2:  # noqa: ASYNC110 - it may come after its deadline
                await asyncio.sleep(0.01)
            fake.hangs = False
            while client.left:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (client.left, fake.running, fake.cancelled) == (0, 0, 0)
