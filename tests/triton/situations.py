"""Every way a call to Triton fails that can be brought about, and the error it must become.

`python -m tests.triton.situations` provokes them on the local Triton and writes `recorded_errors.json`, from which
the fake speaks; do that for a new version of Triton. test_errors.py provokes them again.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from clients.triton.client import TritonClient
from clients.triton.messages import request_bytes
from clients.triton.regions import Region, layout_from_contract
from gateway.segments import PREFIX, Owner
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import POLICY, SIDE, colour_contract, colour_graph, write_model
from vision.contract import Contract
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    UnknownModel,
    WireError,
)

RECORD = Path(__file__).with_name("recorded_errors.json")
CONTRACT = colour_contract()
SLEEPS_S = 0.4
SCRIPT = """
import json, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.parameters = {k: v["string_value"] for k, v in json.loads(args["model_config"])["parameters"].items()}
        if "refuse" in self.parameters:
            raise RuntimeError("these weights cannot be read")

    def execute(self, requests):
        if "raise" in self.parameters:
            raise ValueError("the model stumbled")
        if "entered" in self.parameters:
            open(self.parameters["entered"], "w").close()
        time.sleep(float(self.parameters.get("sleep_s", "0")))
        scores = pb_utils.Tensor("scores", np.zeros((1, 3), np.float32))
        return [pb_utils.InferenceResponse([scores]) for _ in requests]
"""

Provoke = Callable[[LocalTriton, TritonClient], Awaitable[object]]


class Situation(NamedTuple):
    """What brings the failure about, and the error it must become."""

    provoke: Provoke
    error: type[WireError]


def prepare(triton: LocalTriton) -> None:
    """Publish the models that the situations need; some of them fail to load, as they should."""
    folder, slow = triton.repository, {"sleep_s": str(SLEEPS_S)}
    one = colour_contract(max_batch=1)
    write_model(folder, "fine", CONTRACT, colour_graph())
    write_model(folder, "left", CONTRACT, colour_graph())
    write_model(folder, "refuses", CONTRACT, script=SCRIPT, parameters={"refuse": "1"})
    write_model(folder, "raises", CONTRACT, script=SCRIPT, parameters={"raise": "1"})
    write_model(folder, "slow", one, script=SCRIPT, parameters=slow)
    write_model(folder, "full", one, script=SCRIPT, parameters=slow, policy=POLICY.replace("256", "1"))
    write_model(folder, "impatient", one, script=SCRIPT, parameters=slow, policy=POLICY.replace("30000000", "50000"))
    endless = {"sleep_s": "60", "entered": str(folder.parent / "entered")}
    write_model(folder, "endless", one, script=SCRIPT, parameters=endless)
    for name in ("fine", "raises", "slow", "full", "impatient", "endless"):
        triton.load(name)


async def infer(
    client: TritonClient, model: str, version: str = "", contract: Contract = CONTRACT, timeout_s: float = 5
) -> None:
    shape = (1, *contract.input.shape)
    dtype = np.uint8 if contract.input.dtype == "UINT8" else np.float32
    await client.infer(model, version, contract, np.zeros(shape, dtype), timeout_s=timeout_s)


async def crowd(client: TritonClient, model: str) -> None:
    """Six requests to a model that takes one at a time; the first refusal is raised once all have ended."""
    answers = await asyncio.gather(*(infer(client, model, timeout_s=30) for _ in range(6)), return_exceptions=True)
    raise next(answer for answer in answers if isinstance(answer, WireError))


def changed(**fields: object) -> Contract:
    """The contract with another input than the model has."""
    return CONTRACT.model_copy(update={"input": CONTRACT.input.model_copy(update=fields)})


async def too_late(_: LocalTriton, client: TritonClient) -> None:
    """gRPC's own deadline, which the client gives an inference more of than its caller has."""
    batch = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    await client._call("ModelInfer", request_bytes("slow", "", CONTRACT, batch, 1.0), SLEEPS_S / 4, "slow")


async def cut_off(triton: LocalTriton, client: TritonClient) -> None:
    """Triton is killed with a request in it, then started again for the others."""
    entered = triton.repository.parent / "entered"
    entered.unlink(missing_ok=True)
    request = asyncio.create_task(infer(client, "endless", timeout_s=60))
    while not entered.exists():  # noqa: ASYNC110 - Triton's process tells nobody
        await asyncio.sleep(0.01)
    triton.kill()
    try:
        await request
    finally:
        await asyncio.to_thread(triton.start)


@asynccontextmanager
async def nobody() -> AsyncIterator[TritonClient]:
    async with TritonClient(f"127.0.0.1:{free_ports(1)[0]}") as client:
        yield client


async def unreachable(_triton: LocalTriton, _client: TritonClient) -> None:
    async with nobody() as client:
        await infer(client, "fine")


async def failed(triton: LocalTriton, client: TritonClient, version: str = "") -> None:
    with pytest.raises(RuntimeError):
        await asyncio.to_thread(triton.load, "refuses")
    await infer(client, "refuses", version)


async def unloaded(triton: LocalTriton, client: TritonClient, version: str = "") -> None:
    """Triton knows of it as long as it runs."""
    await asyncio.to_thread(triton.load, "left")
    await asyncio.to_thread(triton.unload, "left")
    await infer(client, "left", version)


async def load_refuses(_triton: LocalTriton, client: TritonClient) -> None:
    await client.load("refuses")


async def lost_region(_triton: LocalTriton, client: TritonClient) -> None:
    """As after a restart: a request names shared memory that Triton does not know."""
    layout = layout_from_contract(CONTRACT, 1)
    assert layout is not None
    region = Region("jetserve_lost", np.zeros(layout.nbytes, np.uint8), layout)
    batch = region.memory[: layout.batch_nbytes].reshape(1, *CONTRACT.input.shape)
    await client.infer("fine", "", CONTRACT, batch, timeout_s=5, region=region)


async def twice(_triton: LocalTriton, client: TritonClient) -> None:
    """Shared memory is registered by a name that is taken; past the adapter, which takes that for an answer."""
    owner = Owner.here()
    try:
        name = owner.segment(4096).name
        await client.register_region(name, 4096)
        await client.register_region(name, 4096)
        request = service_pb2.SystemSharedMemoryRegisterRequest(name=name, key=f"/{name}", byte_size=4096)
        await client._call("SystemSharedMemoryRegister", request, 5)
    finally:
        await client.unregister_region(name)
        owner.close()


SITUATIONS: dict[str, Situation] = {
    "unknown model": Situation(lambda _, c: infer(c, "nowhere"), UnknownModel),
    "unknown version": Situation(lambda _, c: infer(c, "fine", "99"), UnknownModel),
    "load of an unknown model": Situation(lambda _, c: c.load("nowhere"), UnknownModel),
    "load fails": Situation(load_refuses, ModelNotReady),
    "failed to load": Situation(failed, ModelNotReady),
    "failed to load, version named": Situation(lambda t, c: failed(t, c, "1"), ModelNotReady),
    "unloaded": Situation(unloaded, ModelNotReady),
    "unloaded, version named": Situation(lambda t, c: unloaded(t, c, "1"), ModelNotReady),
    "queue full": Situation(lambda _, c: crowd(c, "full"), Overloaded),
    "queue timeout": Situation(lambda _, c: crowd(c, "impatient"), DeadlineExceeded),
    "client deadline": Situation(too_late, DeadlineExceeded),
    "unreachable": Situation(unreachable, BackendUnavailable),
    "wrong input name": Situation(lambda _, c: infer(c, "fine", contract=changed(name="x")), BackendFailure),
    "wrong dtype": Situation(lambda _, c: infer(c, "fine", contract=changed(dtype="FP32")), BackendFailure),
    "wrong shape": Situation(lambda _, c: infer(c, "fine", contract=changed(shape=(SIDE, 8, 3))), BackendFailure),
    "model raised": Situation(lambda _, c: infer(c, "raises"), BackendFailure),
    "region not registered": Situation(lost_region, BackendFailure),
    "region registered twice": Situation(twice, BackendFailure),
    "region elsewhere": Situation(lambda _, c: c.register_region("jetserve_elsewhere", 4096), BackendFailure),
    "killed with a request in it": Situation(cut_off, BackendUnavailable),
}


async def recorded(triton: LocalTriton) -> dict[str, dict[str, str]]:
    """Status and message of each situation, as gRPC gave them."""
    record = {}
    async with TritonClient(triton.address) as client:
        for name, situation in SITUATIONS.items():
            with pytest.raises(WireError) as caught:
                await situation.provoke(triton, client)
            record[name] = said(caught.value, triton)
    return record


def said(error: WireError, triton: LocalTriton) -> dict[str, str]:
    """Status and message behind an error of ours, without what differs from run to run: folders and ports."""
    cause = error.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError), repr(error)
    message = (cause.details() or "").replace(str(triton.repository), "/models")
    message = re.sub(rf"{PREFIX}\w+", "jetserve_gateway", message)
    return {"status": cause.code().name, "message": re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8001", message)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        triton = LocalTriton(Path(folder))
        triton.start()
        try:
            prepare(triton)
            record = {"triton": triton.version(), "situations": asyncio.run(recorded(triton))}
        finally:
            triton.stop()
    RECORD.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    print(RECORD.read_text())


if __name__ == "__main__":
    main()
