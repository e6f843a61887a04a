"""`model.py` in a real Triton: the graph's answers come back, and one request's fault stays its own."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from clients.triton.client import TritonClient
from tests.gateway.serving import eventually, running_gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import (
    MODEL_PY,
    POLICY,
    SIDE,
    colour_contract,
    colour_graph,
    spot_contract,
    spot_graph,
    write_model,
)
from tests.triton.graphs import brittle_graph, counting_graph, image
from vision.contract import Contract
from vision.errors import BackendFailure, DeadlineExceeded

pytestmark = [pytest.mark.anyio, pytest.mark.triton]

CONTRACT = colour_contract()
WAIT_FOR_OTHERS_US = 10_000_000
"""Longer than a busy machine takes to send the others: as many are sent as a batch may have, and none waits for it."""
TRIES = 3


@pytest.fixture
async def client(triton: LocalTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton.address) as opened:
        yield opened


async def scores_of(
    client: TritonClient, model: str, *batches: NDArray[Any], contract: Contract = CONTRACT
) -> list[Any]:
    """The answers, or errors, of requests sent together."""
    requests = (client.infer(model, "", contract, batch, timeout_s=30) for batch in batches)
    answers = await asyncio.gather(*requests, return_exceptions=True)
    return [a if isinstance(a, BaseException) else a.outputs["scores"] for a in answers]


async def test_rows_keep_their_order(triton: LocalTriton, client: TritonClient) -> None:
    """Every row of a batch comes back with its own answer."""
    write_model(triton.repository, "colour", CONTRACT, colour_graph())
    triton.load("colour")
    batch = np.concatenate([image(51), image(0, 102), image(0, 0, 255)])
    (scores,) = await scores_of(client, "colour", batch)
    np.testing.assert_allclose(scores, [[0.2, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 1.0]], rtol=1e-6)


async def test_requests_are_joined(triton: LocalTriton, client: TritonClient) -> None:
    """Requests that wait together are one run of the graph."""
    write_model(triton.repository, "counts", CONTRACT, counting_graph(), queue_delay_us=WAIT_FOR_OTHERS_US)
    triton.load("counts")
    scores = await scores_of(client, "counts", *(np.repeat(image(0), rows, axis=0) for rows in (1, 3, 1, 3)))
    assert [(len(rows), rows.max()) for rows in scores] == [(1, 8), (3, 8), (1, 8), (3, 8)]


async def test_joined_requests_get_their_own(triton: LocalTriton, client: TritonClient) -> None:
    """Requests that ran together each get their own rows back."""
    write_model(triton.repository, "joined", CONTRACT, colour_graph(), queue_delay_us=WAIT_FOR_OTHERS_US)
    triton.load("joined")
    batches = [np.repeat(image(value), rows, axis=0) for value, rows in ((10, 1), (20, 3), (30, 1), (40, 3))]
    for batch, scores in zip(batches, await scores_of(client, "joined", *batches), strict=True):
        np.testing.assert_allclose(scores[:, 0], batch[:, 0, 0, 0] / 255, rtol=1e-6)
    counts = triton.statistics("joined", images=8)
    assert (counts["inference_count"], counts["execution_count"]) == (8, 1)


async def test_one_failure_is_one_request_s(triton: LocalTriton, client: TritonClient) -> None:
    """A request on which the graph fails is refused alone; those that shared its run are answered."""
    three = colour_contract(max_batch=3)
    write_model(triton.repository, "brittle", three, brittle_graph(), queue_delay_us=WAIT_FOR_OTHERS_US)
    triton.load("brittle")
    first, culprit, last = await scores_of(client, "brittle", image(10), image(200), image(30))
    with pytest.raises(BackendFailure, match="the graph failed on this request"):
        raise culprit
    np.testing.assert_allclose(np.concatenate([first, last])[:, 0], [10 / 255, 30 / 255], rtol=1e-6)
    assert triton.statistics("brittle", images=2)["execution_count"] == 1


async def test_unreadable_request_is_refused_alone(triton: LocalTriton, client: TritonClient) -> None:
    """Whatever goes wrong while a request is read, those that came with it are answered."""
    reads = "feed[name] = array = tensor.as_numpy()\n"
    fails = "            if array[0, 0, 0, 0] == 200:\n                raise MemoryError('no room')\n"
    script = MODEL_PY.read_text().replace(reads, reads + fails)
    three = colour_contract(max_batch=3)
    write_model(triton.repository, "reads", three, colour_graph(), script=script, queue_delay_us=WAIT_FOR_OTHERS_US)
    triton.load("reads")
    first, culprit, last = await scores_of(client, "reads", image(10), image(200), image(30))
    with pytest.raises(BackendFailure, match=r"the request cannot be read: MemoryError\('no room'\)"):
        raise culprit
    np.testing.assert_allclose(np.concatenate([first, last])[:, 0], [10 / 255, 30 / 255], rtol=1e-6)


async def test_no_boxes_is_an_answer(triton: LocalTriton, client: TritonClient) -> None:
    """Outputs of zero size keep their shape."""
    write_model(triton.repository, "spots", spot_contract(), spot_graph())
    triton.load("spots")
    dark = await client.infer("spots", "", spot_contract(), image(0), timeout_s=5)
    assert (dark.outputs["dets"].shape, dark.outputs["labels"].shape) == ((1, 0, 5), (1, 0))
    lit = image(0)
    lit[0, 0, 3] = 255
    bright = await client.infer("spots", "", spot_contract(), lit, timeout_s=5)
    np.testing.assert_allclose(bright.outputs["dets"], [[[3, 0, 4, 1, 4 / SIDE]]])
    assert bright.outputs["labels"].tolist() == [[0]]


async def test_any_size(triton: LocalTriton, client: TritonClient) -> None:
    """Where the size is free, requests of one size are one run, and all are answered."""
    free = colour_contract(max_batch=3)
    free = free.model_copy(update={"input": free.input.model_copy(update={"shape": (-1, -1, 3)})})
    write_model(
        triton.repository, "free", free, counting_graph(side=None), queue_delay_us=WAIT_FOR_OTHERS_US, ragged=True
    )
    triton.load("free")
    scores = await scores_of(client, "free", image(0), image(0)[:, :8], image(0), contract=free)
    assert [rows.max() for rows in scores] == [2, 1, 2]


async def test_fixed_batch(triton: LocalTriton, client: TritonClient) -> None:
    """A graph that takes exactly four images gets four, and answers only for those that were sent."""
    four = colour_contract(max_batch=4)
    write_model(triton.repository, "four", four, colour_graph(batch=4))
    triton.load("four")
    (scores,) = await scores_of(client, "four", np.repeat(image(51), 3, axis=0), contract=four)
    np.testing.assert_allclose(scores, [[0.2, 0.0, 0.0]] * 3, rtol=1e-6)


@pytest.mark.parametrize(("policy", "run"), [("", 5), (POLICY, 4)])
async def test_who_waits_in_the_queue_is_told_at_the_deadline(
    triton: LocalTriton, client: TritonClient, policy: str, run: int
) -> None:
    """Triton is not, and runs the request for nobody, unless a queue policy has it look (decision 20)."""
    one, gate = colour_contract(max_batch=1), triton.repository.parent / f"gate-{run}"
    gate.unlink(missing_ok=True)
    waits = f"import os, time\n        while not os.path.exists({str(gate)!r}):\n            time.sleep(0.01)\n"
    script = MODEL_PY.read_text().replace("responses = [None]", f"{waits}        responses = [None]")
    name = "patient" if policy else "sleeper"
    write_model(triton.repository, name, one, colour_graph(), script=script, policy=policy)
    triton.load(name)
    # One is run and, without a policy, Triton takes two more out of the queue ahead of their turn.
    before = [asyncio.create_task(client.infer(name, "", one, image(0), timeout_s=30)) for _ in range(3)]
    await asyncio.to_thread(eventually, lambda: triton.waiting(name) == 2, within_s=20)
    with pytest.raises(DeadlineExceeded):
        await client.infer(name, "", one, image(0), timeout_s=0.1)
    assert not any(each.done() for each in before)
    await asyncio.to_thread(eventually, lambda: triton.waiting(name) == 3, within_s=20)
    await asyncio.sleep(0.1)  # its time is over for Triton, too, which it has reached by now
    gate.touch()
    await asyncio.gather(*before)
    await client.infer(name, "", one, image(0), timeout_s=5)
    assert triton.statistics(name, images=run)["inference_count"] == run


async def test_no_request_waits_for_nothing(triton: LocalTriton, client: TritonClient) -> None:
    """One request after the other is answered without Triton's pause of half a second (docs/04-triton.md).

    One in some 200 waits where there is a queue policy, for just that long. A busy machine may stop for as long as it
    likes, and Triton alone now and then for half a second: one of three tries without a pause is enough.
    """
    write_model(triton.repository, "brisk", CONTRACT, colour_graph())
    triton.load("brisk")
    found = [await pauses(client, "brisk")]
    while found[-1] and len(found) < TRIES:
        found.append(await pauses(client, "brisk"))
    assert found[-1] == [], found


async def pauses(client: TritonClient, model: str) -> list[float]:
    """Seconds of those of many requests that may have waited for Triton's pause, but for those unseen here."""
    took_s, seen_s = [], 0.0

    async def see() -> None:
        nonlocal seen_s
        before_s = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now_s = time.monotonic()
            seen_s += min(now_s - before_s, 0.1)
            before_s = now_s

    seeing = asyncio.create_task(see())
    for _ in range(1500):
        begin_s = seen_s
        await client.infer(model, "", CONTRACT, image(0), timeout_s=5)
        took_s.append(seen_s - begin_s)
    seeing.cancel()
    return [each_s for each_s in took_s if each_s > 0.45]


@pytest.mark.parametrize(
    ("parameters", "batch", "message"),
    [
        ({"threads": "many"}, "batch", "parameter threads is 'many': expected a whole number"),
        ({"providers": "FastProvider"}, "batch", r"parameter providers names \['FastProvider'\]"),
        ({}, 4, "takes exactly 4 images a run, but max_batch_size is 8"),
    ],
)
def test_wrong_settings_stop_the_load(
    triton: LocalTriton, parameters: dict[str, str], batch: int | str, message: str
) -> None:
    """A wrong parameter is named when the model is loaded, not when it is asked."""
    write_model(triton.repository, "wrong", CONTRACT, colour_graph(batch=batch), parameters=parameters)
    with pytest.raises(RuntimeError, match=message):
        triton.load("wrong")


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("input", {"name": "image"}, r"inputs differ in \['image', 'input'\]"),
        ("input", {"shape": (SIDE, 8, 3)}, "input 'input': config.pbtxt says"),
        ("input", {"dtype": "FP32"}, "TYPE_FP32 .* model.onnx says TYPE_UINT8"),
        ("output", {"name": "scores2"}, r"outputs differ in \['scores2'\]"),
        ("output", {"dtype": "INT64"}, "output 'scores': config.pbtxt says TYPE_INT64"),
    ],
)
def test_wrong_tensors_stop_the_load(triton: LocalTriton, tensor: str, change: dict[str, object], message: str) -> None:
    """Names, dtypes and shapes that graph and configuration do not share stop the load."""
    described = CONTRACT.input if tensor == "input" else CONTRACT.outputs[0]
    changed: Any = described.model_copy(update=change)
    contract = CONTRACT.model_copy(update={"input": changed} if tensor == "input" else {"outputs": (changed,)})
    write_model(triton.repository, "wrong", contract, colour_graph())
    with pytest.raises(RuntimeError, match=message):
        triton.load("wrong")


def test_missing_graph_stops_the_load(triton: LocalTriton) -> None:
    """A version folder without its model.onnx is said to be so."""
    write_model(triton.repository, "hollow", CONTRACT)
    with pytest.raises(RuntimeError, match=r"model\.onnx does not exist: import the model again"):
        triton.load("hollow")


def test_numpy_2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy 2, with which Triton's Python backend sends empty outputs, stops the load."""
    assert np.__version__.startswith("2.")
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("triton_python_backend_utils"))
    module = ModuleType("model")
    SourceFileLoader("model", str(MODEL_PY)).exec_module(module)
    with pytest.raises(RuntimeError, match="install numpy<2"):
        module.TritonPythonModel().initialize({})


def test_a_triton_without_onnx_runtime_says_what_would_serve_it(tmp_path: Path) -> None:
    """As NVIDIA's images are: what the model was built for, and what to do, is said by Triton and by the gateway."""
    server = LocalTriton(tmp_path)
    write_model(server.repository, "cpu", CONTRACT, colour_graph())
    [program] = (server.repository / "cpu").rglob("model.py")
    program.write_text(f"import sys\nsys.modules['onnxruntime'] = None\n{program.read_text()}")
    try:
        server.start()
        words = r"--target cpu.*--target jetson"
        with pytest.raises(RuntimeError, match=words):
            server.load("cpu")
        with running_gateway(server.address) as gateway:
            ready = f"{gateway.url}/health/ready"
            eventually(lambda: re.search(words, httpx.get(ready, trust_env=False).text), within_s=30)
            assert httpx.get(ready, trust_env=False).status_code == 503
    finally:
        server.kill()
