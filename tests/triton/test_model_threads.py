"""`model.py` with several threads, in a real Triton: images are spread over them and answered as if each were alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from clients.triton.client import TritonClient
from tests.local_triton import LocalTriton
from tests.tiny_models import SIDE, colour_contract, colour_graph, spot_contract, spot_graph, write_model
from tests.triton.graphs import brittle_graph, counting_graph, image, merging_graph
from vision.contract import Contract
from vision.errors import BackendFailure

pytestmark = [pytest.mark.anyio, pytest.mark.triton]

CONTRACT = colour_contract()
WAIT_FOR_OTHERS_US = 10_000_000
"""Longer than a busy machine takes to send the others: as many are sent as a batch may have, and none waits for it."""
TWO = {"threads": "2"}


@pytest.fixture
async def client(triton: LocalTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton.address) as opened:
        yield opened


async def answers(
    client: TritonClient, model: str, *batches: NDArray[np.uint8], contract: Contract = CONTRACT
) -> list[Any]:
    """The outputs, or errors, of requests sent together."""
    requests = (client.infer(model, "", contract, batch, timeout_s=30) for batch in batches)
    found = await asyncio.gather(*requests, return_exceptions=True)
    return [each if isinstance(each, BaseException) else each.outputs for each in found]


def spots(count: int) -> NDArray[np.uint8]:
    """An image with that many spots, [1, SIDE, SIDE, 3]."""
    dark = image(0)
    dark[0, 0, :count] = 255
    return dark


async def test_images_are_spread(triton: LocalTriton, client: TritonClient) -> None:
    """Requests that wait together are shared out evenly, and one that does not fit its share is cut."""
    write_model(
        triton.repository, "spread", CONTRACT, counting_graph(), parameters=TWO, queue_delay_us=WAIT_FOR_OTHERS_US
    )
    triton.load("spread")
    found = await answers(client, "spread", *(np.repeat(image(0), rows, axis=0) for rows in (1, 3, 1, 3)))
    assert [(len(each["scores"]), each["scores"].max()) for each in found] == [(1, 4), (3, 4), (1, 4), (3, 4)]
    write_model(triton.repository, "spread", CONTRACT, counting_graph(), parameters=TWO)
    triton.load("spread")
    [whole] = await answers(client, "spread", np.repeat(image(0), 7, axis=0))
    assert whole["scores"][:, 0].tolist() == [4, 4, 4, 4, 3, 3, 3]
    [alone] = await answers(client, "spread", image(0))
    assert alone["scores"].tolist() == [[1, 1, 1]]


async def test_rows_come_back_in_order(triton: LocalTriton, client: TritonClient) -> None:
    """Whichever thread ran them, and again and again in the memory that they are gathered in."""
    write_model(
        triton.repository, "ordered", CONTRACT, colour_graph(), parameters=TWO, queue_delay_us=WAIT_FOR_OTHERS_US
    )
    triton.load("ordered")
    for shift in range(3):
        batches = [
            np.concatenate([image(10 * number + 60 * shift + row) for row in range(rows)])
            for number, rows in enumerate((1, 5, 2))  # the one of five is cut
        ]
        for batch, outputs in zip(batches, await answers(client, "ordered", *batches), strict=True):
            np.testing.assert_allclose(outputs["scores"][:, 0], batch[:, 0, 0, 0] / 255, rtol=1e-6)


async def test_threads_gather_apart(triton: LocalTriton, client: TritonClient) -> None:
    """No thread writes where another's run still reads: images so large that both are at it at the same time."""
    large = colour_contract(max_batch=4)
    large = large.model_copy(update={"input": large.input.model_copy(update={"shape": (-1, -1, 3)})})
    write_model(
        triton.repository,
        "large",
        large,
        colour_graph(side=None),
        parameters=TWO,
        queue_delay_us=WAIT_FOR_OTHERS_US,
        ragged=True,
    )
    triton.load("large")
    values = (10, 60, 110, 160)
    for _ in range(3):
        batches = [np.full((1, 640, 640, 3), value, np.uint8) for value in values]
        found = await answers(client, "large", *batches, contract=large)
        np.testing.assert_allclose([each["scores"][0, 0] for each in found], np.array(values) / 255, rtol=1e-3)


async def test_one_failure_is_one_request_s(triton: LocalTriton, client: TritonClient) -> None:
    """A request on which the graph fails is refused alone, also when it was cut and shared runs with two others."""
    five = colour_contract(max_batch=5)
    write_model(triton.repository, "brittle2", five, brittle_graph(), parameters=TWO, queue_delay_us=WAIT_FOR_OTHERS_US)
    triton.load("brittle2")
    culprit = np.concatenate([image(20), image(200), image(30)])
    first, refused, last = await answers(client, "brittle2", image(10), culprit, image(40))
    with pytest.raises(BackendFailure, match="the graph failed on this request"):
        raise refused
    found = [first["scores"][0, 0], last["scores"][0, 0]]
    np.testing.assert_allclose(found, [10 / 255, 40 / 255], rtol=1e-6)


async def test_what_is_missing_of_open_outputs_is_zero(triton: LocalTriton, client: TritonClient) -> None:
    """Where the configuration allows it a request is cut though one run finds more than the other; that ends in zeros.

    The graph finds on every image of a run what is on any of them.
    """
    contract = spot_contract()
    write_model(triton.repository, "filled", contract, spot_graph(), parameters=TWO | {"filler": "0"})
    triton.load("filled")
    batch = np.concatenate([spots(1), spots(0), spots(5), spots(2)])
    [found] = await answers(client, "filled", batch, contract=contract)
    assert (found["dets"].shape, found["labels"].shape) == ((4, 5, 5), (4, 5))
    for row, count in zip(found["dets"], (1, 1, 5, 5), strict=True):
        assert row[:count, 0].tolist() == list(range(count))
        assert (row[:count, 4] > 0).all()
        assert not row[count:].any()


async def test_what_may_not_be_filled_is_not_cut(triton: LocalTriton, client: TritonClient) -> None:
    """Outputs of open size come from one run where nothing says what stands for what is missing."""
    contract = spot_contract(max_batch=3)
    write_model(triton.repository, "uncut", contract, spot_graph(), parameters=TWO, queue_delay_us=WAIT_FOR_OTHERS_US)
    triton.load("uncut")
    [found] = await answers(client, "uncut", np.concatenate([spots(3), spots(1), spots(2)]), contract=contract)
    assert (found["dets"][:, :, 4] > 0).all()
    assert found["dets"].shape == (3, 3, 5)
    few, many = await answers(client, "uncut", spots(1), np.concatenate([spots(3), spots(1)]), contract=contract)
    assert (few["dets"].shape, many["dets"].shape) == ((1, 1, 5), (2, 3, 5))  # each a run, in a thread of its own


async def test_a_fixed_batch_is_spread(triton: LocalTriton, client: TritonClient) -> None:
    """Runs of exactly four images, each filled up by itself, and every image has its own answer."""
    write_model(
        triton.repository,
        "fixed2",
        colour_contract(max_batch=2),
        colour_graph(batch=2),
        parameters=TWO,
        queue_delay_us=200_000,
    )
    triton.load("fixed2")
    batches = [np.concatenate([image(10 * row + 5) for row in range(rows)]) for rows in (1, 2, 1)]
    for batch, outputs in zip(batches, await answers(client, "fixed2", *batches), strict=True):
        np.testing.assert_allclose(outputs["scores"][:, 0], batch[:, 0, 0, 0] / 255, rtol=1e-6)


async def test_a_model_without_batches(triton: LocalTriton, client: TritonClient) -> None:
    """`max_batch_size: 0`: each request is a run of its own, with all threads."""
    folder = write_model(triton.repository, "single", CONTRACT, colour_graph(batch=1), parameters=TWO)
    config = folder / "config.pbtxt"
    text = config.read_text().replace("max_batch_size: 8", "max_batch_size: 0")
    text = text.replace(f"dims: [{SIDE}, {SIDE}, 3]", f"dims: [1, {SIDE}, {SIDE}, 3]").replace(
        "dims: [3]", "dims: [1, 3]"
    )
    config.write_text("\n".join(line for line in text.splitlines() if not line.startswith("dynamic_batching")))
    triton.load("single")
    [found] = await answers(client, "single", image(51), contract=colour_contract(max_batch=1))
    np.testing.assert_allclose(found["scores"], [[0.2, 0.0, 0.0]], rtol=1e-6)


async def test_a_row_for_every_image(triton: LocalTriton, client: TritonClient) -> None:
    """A graph that answers all images of a run with one row does not pass for one that answers each."""
    write_model(triton.repository, "merging", CONTRACT, merging_graph(), parameters=TWO)
    triton.load("merging")
    one, several = await answers(client, "merging", image(51)), await answers(client, "merging", image(51).repeat(7, 0))
    np.testing.assert_allclose(one[0]["scores"], [[0.2, 0.0, 0.0]], rtol=1e-6)
    with pytest.raises(BackendFailure, match="output 'scores' has 1 rows for 7 images"):
        raise several[0]


@pytest.fixture
def paired(triton: LocalTriton) -> Callable[..., str]:
    """Loads a model with two instances of two threads; its name comes back."""

    def load(name: str, graph: onnx.ModelProto, queue_delay_us: int = 0) -> str:
        four = colour_contract(max_batch=4)
        folder = write_model(triton.repository, name, four, graph, parameters=TWO, queue_delay_us=queue_delay_us)
        config = folder / "config.pbtxt"
        config.write_text(config.read_text().replace("count: 1", "count: 2"))
        triton.load(name)
        return name

    return load


async def test_instances_answer_side_by_side(paired: Callable[..., str], client: TritonClient) -> None:
    """Two instances take turns or work side by side, and all that they are asked is answered."""
    values = [value % 250 for value in range(200)]
    found = await answers(client, paired("paired", colour_graph()), *map(image, values))
    np.testing.assert_allclose([each["scores"][0, 0] for each in found], np.array(values) / 255, rtol=1e-6)


async def test_instances_share_the_threads(paired: Callable[..., str], client: TritonClient) -> None:
    """What comes alone is spread over all of them, what came with others has its instance's part: here one."""
    name = paired("parted", counting_graph(), queue_delay_us=WAIT_FOR_OTHERS_US)
    [alone] = await answers(client, name, np.repeat(image(0), 4, axis=0))
    assert alone["scores"].max() == 2
    together = await answers(client, name, *[image(0)] * 4)
    assert [each["scores"].max() for each in together] == [4] * 4
