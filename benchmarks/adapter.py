"""What `clients.triton.client` costs beside tritonclient: one image through the same model of a real Triton, in turns.

The model reads one row of the image, so that the time is that of the way there and back.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import tritonclient.grpc.aio as tritonclient
from onnx import ModelProto, TensorProto, helper

from benchmarks import record
from clients.triton.client import TritonClient
from clients.triton.messages import request_bytes
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, model_from_nodes, write_model
from vision.contract import Contract

SIDES = (416, 640)
ROUNDS = 500
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/adapter.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        triton = LocalTriton(Path(folder))
        triton.start()
        try:
            sizes = {f"{side}x{side}x3 uint8": asyncio.run(measured(triton, side)) for side in SIDES}
        finally:
            triton.stop()
    record.write(options.out, {"rounds": ROUNDS, "ms": sizes})


async def measured(triton: LocalTriton, side: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a request through each client, and of building ours."""
    contract, name = contract_of(side), f"row{side}"
    write_model(triton.repository, name, contract, graph(side))
    triton.load(name)
    batch = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    theirs = tritonclient.InferenceServerClient(triton.address)
    async with TritonClient(triton.address) as ours:

        async def through_ours() -> object:
            return (await ours.infer(name, "", contract, batch, timeout_s=5)).outputs["scores"]

        async def through_theirs() -> object:
            tensor = tritonclient.InferInput("input", batch.shape, "UINT8")
            tensor.set_data_from_numpy(batch)
            return (await theirs.infer(name, [tensor])).as_numpy("scores")

        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "clients.triton.client": through_ours,
            "tritonclient.grpc.aio": through_theirs,
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(WARM_UP + ROUNDS):
            for way, request in ways.items():
                begin = time.perf_counter()
                await request()
                seconds[way].append(time.perf_counter() - begin)
    await theirs.close()
    seconds["request_bytes alone"] = building(name, contract, batch)
    return {way: record.percentiles(each[WARM_UP:]) for way, each in seconds.items()}


def building(name: str, contract: Contract, batch: np.ndarray) -> list[float]:
    seconds = []
    for _ in range(WARM_UP + ROUNDS):
        begin = time.perf_counter()
        request_bytes(name, "", contract, batch, 5.0)
        seconds.append(time.perf_counter() - begin)
    return seconds


def contract_of(side: int) -> Contract:
    contract = colour_contract()
    return contract.model_copy(update={"input": contract.input.model_copy(update={"shape": (side, side, 3)})})


def graph(side: int) -> ModelProto:
    """The mean of the first row's channels."""
    return model_from_nodes(
        [
            helper.make_node("Slice", ["input", "zero", "one", "one"], ["row"]),
            helper.make_node("Cast", ["row"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["scores"], axes=[1, 2], keepdims=0),
        ],
        {"input": (TensorProto.UINT8, ["batch", side, side, 3])},
        {"scores": (TensorProto.FLOAT, ["batch", 3])},
        [helper.make_tensor(name, TensorProto.INT64, [1], [i]) for name, i in (("zero", 0), ("one", 1))],
    )


if __name__ == "__main__":
    main()
