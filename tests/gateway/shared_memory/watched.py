"""What a gateway has in shared memory, and what Triton has mapped of it."""

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from clients.triton.client import TritonClient
from gateway.segments import SHM
from gateway.tensor_path import TensorPath
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, process
from tests.local_triton import LocalTriton

PHOTOS = [encoded(30 + i, 40, (40 * i, 200 - 30 * i, 10 * i), ".png") for i in range(6)]


def paths(gateway: RunningGateway) -> Counter[tuple[str, str]]:
    """Calls to Triton by model and path, as /metrics has them."""
    found = re.findall(
        r'^gateway_tensor_path_requests_total\{model="(\w+)",path="(\w+)"\} (\S+)$',
        gateway.http.get("/metrics").text,
        re.MULTILINE,
    )
    return Counter({(model, path): int(float(count)) for model, path, count in found})


def results(gateway: RunningGateway, model: str, photo: bytes) -> list[dict[str, Any]]:
    response = gateway.predict(model, photo, "image/png")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def several(gateway: RunningGateway, model: str, photos: list[bytes]) -> list[dict[str, Any]]:
    files = [("f", (f"{i}.png", photo, "image/png")) for i, photo in enumerate(photos)]
    response = gateway.http.post(f"/v1/models/{model}/predict", files=files)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def tensors_of(gateway: RunningGateway) -> TensorPath:
    """Of its one Triton."""
    [replica] = gateway.service.predictor._replicas.members
    return replica.tensors


def stem_of(gateway: RunningGateway) -> str:
    """What the names of its pieces of shared memory begin with, and those of no other."""
    slots = tensors_of(gateway)._slots
    assert slots is not None
    return slots._owner._stem


def names(owner: RunningGateway | str) -> set[str]:
    """Of the pieces of shared memory of a gateway, or of those whose names begin so."""
    stem = owner if isinstance(owner, str) else stem_of(owner)
    return {path.name for path in SHM.glob(f"{stem}_*") if path.suffix != ".lock"}


async def regions_of(address: str) -> set[str]:
    """What Triton has mapped."""
    async with TritonClient(address) as client:
        return set(await client.regions())


def regions_now(triton: LocalTriton) -> set[str]:
    return asyncio.run(regions_of(triton.address))


@contextmanager
def gateway_process(triton: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway in a process of its own that is ready, and its URL."""
    with process(triton=triton) as (started, url):
        eventually(lambda: is_ready(url), within_s=60)
        yield started, url


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def gate_of(triton: LocalTriton) -> Path:
    """The file that the model shm_waits waits for."""
    return triton.repository.parent / "gate"
