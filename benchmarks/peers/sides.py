"""Who is measured: how each side is started, what is asked, and how its answer reads."""

import asyncio
import http.client
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import record
from benchmarks.peers import triton_alone
from benchmarks.peers.model_servers import PEERS, Launcher, bentoml, litserve, mosec
from benchmarks.peers.network import Box, Detector
from benchmarks.peers.processes import VENV, DidNotStart, module, server
from benchmarks.peers.subject import Subject
from gateway.local.settings import PORTS
from tests.local_triton import LocalTriton
from tests.ports import free_ports


@dataclass(frozen=True, slots=True)
class Running:
    """A side that answers: `load` is the command that asks it as `users` would, `boxes` asks once."""

    load: Callable[[int], list[str]]
    boxes: Callable[[], list[Box]]


Start = Callable[[Subject, Path], AbstractContextManager[Running]]
"""With a folder of its own, for logs and the like."""


def served(url: str, subject: Subject, boxes: Callable[[Any], list[Box]] = lambda answer: answer) -> Running:
    """What answers HTTP at `url`; `boxes` finds them in its JSON."""

    def ask() -> list[Box]:
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        connection.request("POST", address.path, subject.photo.read_bytes(), {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {body[:500]!r}")
        return boxes(json.loads(body))

    return Running(lambda users: [*module("load"), "--url", url, "--users", str(users)], ask)


@contextmanager
def jetserve(model: str, subject: Subject, folder: Path) -> Iterator[Running]:
    """As `make run-background`, on ports and with models of its own; GATEWAY_… settings are passed on."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    local = [str(VENV / "gateway/bin/python"), "-m", "gateway.local"]
    where = ["--run-folder", str(folder), "--repository", str(subject.repository)]
    run = partial(subprocess.run, env={**os.environ, **ports}, cwd=record.ROOT, capture_output=True, text=True)
    started = run([*local, "run", "--background", *where])
    if started.returncode:
        raise DidNotStart(f"gateway.local:\n{started.stdout}{started.stderr}")
    try:
        url = f"http://127.0.0.1:{ports['GATEWAY_PORT']}/v1/models/{model}/predict"
        yield served(url, subject, boxes_from_jetserve)
    finally:
        run([*local, "stop", *where], check=True)


def boxes_from_jetserve(answer: Any) -> list[Box]:
    """From the JSON of `/v1/models/…/predict`."""
    [result] = answer["results"]
    return [
        {
            "label": found["label"],
            "score": found["score"],
            "box": [found["box"][side] for side in ("x1", "y1", "x2", "y2")],
        }
        for found in result["detections"]
    ]


@contextmanager
def bare(loops: int, threads: int, subject: Subject, _: Path) -> Iterator[Running]:
    """No server: as many loops as there are users, up to `loops`."""
    command = [*module("bare"), "--model", str(subject.model), "--threads", str(threads)]

    def boxes() -> list[Box]:
        return Detector(str(subject.model), threads)([subject.photo.read_bytes()])[0]

    yield Running(lambda users: [*command, "--users", str(min(users, loops))], boxes)


@contextmanager
def model_server(launcher: Launcher, workers: int, threads: int, subject: Subject, folder: Path) -> Iterator[Running]:
    """A peer that holds the model in itself."""
    [port] = free_ports(1)
    url, launch = f"http://127.0.0.1:{port}", launcher(port, workers, folder)
    told = {"PEER_MODEL": str(subject.model), "PEER_THREADS": str(threads), "PEER_WORKERS": str(workers)}
    with server(launch.command, {**told, **launch.environment}, url + launch.ready, folder / "server.log"):
        yield served(f"{url}/predict", subject)


@contextmanager
def plain(model: str, subject: Subject, folder: Path) -> Iterator[Running]:
    """A plain gateway before a Triton of its own, which serves `model`."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with triton(model, subject, folder) as address:
        told = {"PEER_MODEL": model, "PEER_TRITON": address}
        command = [str(PEERS / "uvicorn"), "benchmarks.peers.plain_gateway:app", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
        with server(command, told, f"{url}/ready", folder / "server.log"):
            yield served(f"{url}/predict", subject)


@contextmanager
def without_gateway(subject: Subject, folder: Path) -> Iterator[Running]:
    """No gateway: pixels that lie ready in shared memory."""
    with triton(triton_alone.MODEL, subject, folder) as address:
        command = [*module("triton_alone"), "--triton", address]
        photo = subject.photo.read_bytes()
        yield Running(
            lambda users: [*command, "--users", str(users)],
            lambda: asyncio.run(triton_alone.boxes(address, photo)),
        )


@contextmanager
def load_alone(subject: Subject, folder: Path) -> Iterator[Running]:
    """What the load itself takes: a server that has the answer before it is asked."""
    [port] = free_ports(1)
    answer = folder / "answer.json"
    answer.write_text(json.dumps(subject.boxes))
    command = [*module("nothing"), "--port", str(port), "--answer", str(answer)]
    url = f"http://127.0.0.1:{port}"
    with server(command, {}, url, folder / "server.log"):
        yield served(f"{url}/predict", subject)


@contextmanager
def triton(model: str, subject: Subject, folder: Path) -> Iterator[str]:
    """Host and port of a Triton that has loaded `model`."""
    running = LocalTriton(folder / "triton")
    running.repository.rmdir()
    running.repository.symlink_to(subject.repository)
    running.start(model)
    try:
        yield running.address
    finally:
        running.stop()


LAYOUTS = {"2x1": (2, 1), "1x2": (1, 2)}
"""Workers, and threads of ONNX Runtime in each."""
MODEL_SERVERS: dict[str, Launcher] = {"bentoml": bentoml, "litserve": litserve, "mosec": mosec}
SIDES: dict[str, Start] = {
    "jetserve": partial(jetserve, "person"),
    "jetserve-plain": partial(jetserve, "person_plain"),
    **{
        f"{peer}-{name}": partial(model_server, launcher, *layout)
        for peer, launcher in MODEL_SERVERS.items()
        for name, layout in LAYOUTS.items()
    },
    **{f"plain-{name}": partial(plain, f"floats_{name}") for name in LAYOUTS},
    "triton-alone": without_gateway,
    **{f"bare-{name}": partial(bare, *layout) for name, layout in LAYOUTS.items()},
    "load-alone": load_alone,
}
