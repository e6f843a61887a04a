"""Photos through shared memory against photos in gRPC messages: the same near-free network at 640 px, in one run.

Two gateways before one Triton, one with GATEWAY_SHARED_MEMORY=auto and one with off, each a process of its own, asked
in turns by users who ask again when they are answered. The network reads one row of the image. The tensors are
measured alone, too: `clients.triton.client` with a batch that lies in a slot against one that does not.
"""

import argparse
import asyncio
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import record
from benchmarks.adapter import contract_of, graph
from clients.triton.client import TritonClient
from clients.triton.regions import Region, layout_from_contract
from gateway.segments import Owner
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import write_model
from vision.contract import Contract, ResizeStretch

SIDE = 640
MODEL = "row640"
USERS = (1, 8)
WAYS = {"shared_memory": "auto", "grpc": "off"}
WARM_UP = 30
START_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each gateway")
    parser.add_argument("--requests", type=int, default=200, help="of each turn, by all users together")
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/shared_memory.json")
    options = parser.parse_args()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = cv2.imencode(".jpg", cv2.resize(noise, (413, 300), interpolation=cv2.INTER_CUBIC))[1].tobytes()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        triton = LocalTriton(Path(folder))
        triton.start()
        stack.callback(triton.stop)
        write_model(triton.repository, MODEL, contract(), graph(SIDE))
        triton.load(MODEL)
        alone = asyncio.run(tensors(triton.address, options.rounds * options.requests))
        ports = {
            way: stack.enter_context(gateway(triton.address, {"shared_memory": setting}))[0]
            for way, setting in WAYS.items()
        }
        rows = [row for users in USERS for row in turns(ports, photo, users, options.rounds, options.requests)]
    ratios = {
        f"{users} users": round(rate(rows, users, "shared_memory") / rate(rows, users, "grpc"), 3) for users in USERS
    }
    for name, ms in alone.items():
        print(f"tensors alone, {name:14} p50 {ms['p50']:6.2f} ms")
    for row in rows:
        print(row)
    print("requests/s, shared memory over gRPC:", ratios)
    load = {"loop": "closed", "rounds": options.rounds, "requests_a_round": options.requests, "failures": 0}
    photo_record = {"bytes": len(photo), "width": 413, "height": 300}
    record.write(
        options.out,
        {"load": load, "photo": photo_record, "tensors_ms": alone, "gateway": rows, "requests_per_s_ratio": ratios},
    )


def contract() -> Contract:
    step = ResizeStretch(size_hw=(SIDE, SIDE), interpolation="bilinear", library="opencv")
    return contract_of(SIDE).model_copy(update={"preprocess": (step,)})


def rate(rows: list[dict[str, Any]], users: int, way: str) -> float:
    return next(float(row["requests_per_s"]) for row in rows if (row["users"], row["path"]) == (users, way))


async def tensors(address: str, requests: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a call to Triton with one image, in turns."""
    described, owner = contract(), Owner.here()
    layout = layout_from_contract(described, 1)
    assert layout is not None
    segment = owner.segment(layout.nbytes)
    region = Region(segment.name, segment.memory, layout)
    inside = segment.memory[: layout.batch_nbytes].reshape(1, SIDE, SIDE, 3)
    outside = inside.copy()
    async with TritonClient(address) as client:
        await client.register_region(segment.name, len(segment.memory))
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "shared_memory": lambda: client.infer(MODEL, "", described, inside, timeout_s=5, region=region),
            "grpc": lambda: client.infer(MODEL, "", described, outside, timeout_s=5),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(WARM_UP + requests // 2):
            for way, ask in ways.items():
                begin = time.perf_counter()
                await ask()
                seconds[way].append(time.perf_counter() - begin)
        await client.unregister_region(segment.name)
    owner.close()
    return {way: record.percentiles(each[WARM_UP:]) for way, each in seconds.items()}


@contextmanager
def gateway(triton: str, settings: dict[str, object]) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    [port] = free_ports(1)
    given = {"port": port, "grpc_port": 0, "triton": triton, "log_level": "warning"} | settings
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    environment = clean | {f"GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, cwd=record.ROOT)
    try:
        end_s = time.monotonic() + START_S
        while not ready(port):
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def turns(ports: dict[str, int], photo: bytes, users: int, rounds: int, requests: int) -> list[dict[str, Any]]:
    """One row a gateway: requests a second, and milliseconds of each."""
    seconds: dict[str, list[float]] = {way: [] for way in ports}
    spent_s = dict.fromkeys(ports, 0.0)
    for port in ports.values():
        asked(port, photo, users, WARM_UP)
    for _ in range(rounds):
        for way, port in ports.items():
            begin = time.perf_counter()
            seconds[way] += asked(port, photo, users, requests)
            spent_s[way] += time.perf_counter() - begin
    for way, port in ports.items():
        counted = paths(port)
        if set(counted) != {way}:
            raise RuntimeError(f"the gateway that should use {way} counted {counted}")
    return [
        {
            "users": users,
            "path": way,
            "requests_per_s": round(len(seconds[way]) / spent_s[way], 1),
            "ms": record.percentiles(seconds[way]),
        }
        for way in ports
    ]


def asked(port: int, photo: bytes, users: int, requests: int) -> list[float]:
    """Seconds of each request; every user sends the next when the last is answered."""
    seconds: list[float] = []

    def user() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(requests // users):
            begin = time.perf_counter()
            connection.request("POST", f"/v1/models/{MODEL}/predict", photo, {"content-type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the gateway answered {answer.status}")
            seconds.append(time.perf_counter() - begin)
        connection.close()

    each = [threading.Thread(target=user) for _ in range(users)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    if len(seconds) != requests // users * users:
        raise RuntimeError("requests failed")
    return seconds


def paths(port: int) -> dict[str, float]:
    """Calls to Triton by path, from the gateway's metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {
        way: float(count)
        for way, count in re.findall(r'^gateway_tensor_path_requests_total{.*path="(\w+)"} (\S+)$', text, re.MULTILINE)
    }


if __name__ == "__main__":
    main()
