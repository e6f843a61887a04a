"""What a queue policy costs in Triton: the balloon model with one and without, asked for by several users at once.

Any `default_queue_policy` makes Triton hand work over only to an instance that already waits for it; when the instance
is a moment late the work lies until the batcher looks again, half a second later (docs/04-triton.md).
"""

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import record
from builder.publishing.repository import served_version
from clients.triton.client import TritonClient
from tests.local_triton import LocalTriton
from tests.tiny_models import POLICY
from vision.contract import contract_from_json

MODEL = record.ROOT / "model_repository" / "balloon"
USERS = (1, 2, 4, 16)
REQUESTS = 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/queue_policy.json")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        triton = LocalTriton(Path(folder))
        triton.start()
        try:
            for users in USERS:
                for name, policy in (("none", ""), ("timeout and size", POLICY)):
                    publish(triton.repository, policy)
                    triton.load(MODEL.name)
                    seconds, elapsed_s = asyncio.run(asked(triton.address, users))
                    triton.unload(MODEL.name)
                    figures = {"ms": record.percentiles(seconds), "images_per_s": round(len(seconds) / elapsed_s, 1)}
                    rows.append({"policy": name, "users": users, **figures})
        finally:
            triton.stop()
    record.write(options.out, {"model_sha256": record.sha256(graph()), "requests": REQUESTS, "rows": rows})


def graph() -> Path:
    return MODEL / str(served_version(MODEL)) / "model.onnx"


def publish(repository: Path, policy: str) -> None:
    """The balloon model with this policy in the place of its own."""
    folder = repository / MODEL.name
    shutil.copytree(MODEL, folder, dirs_exist_ok=True)
    config = folder / "config.pbtxt"
    changed, count = re.subn(
        r"^dynamic_batching .*$", f"dynamic_batching {{ {policy} }}", config.read_text(), flags=re.MULTILINE
    )
    if count != 1:
        raise RuntimeError(f"{config} should have its dynamic_batching on one line")
    config.write_text(changed)


async def asked(address: str, users: int) -> tuple[list[float], float]:
    """Seconds of each request, and of all; every user sends the next one when the last is answered."""
    contract = contract_from_json(graph().with_name("contract.json").read_bytes())
    batch = np.zeros((1, *contract.input.shape), np.uint8)
    seconds: list[float] = []

    async with TritonClient(address) as client:

        async def user() -> None:
            for _ in range(REQUESTS // users):
                begin = time.perf_counter()
                await client.infer(MODEL.name, "", contract, batch, timeout_s=30)
                seconds.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        await asyncio.gather(*(user() for _ in range(users)))
        return seconds, time.perf_counter() - begin


if __name__ == "__main__":
    main()
