"""What a second Triton costs the gateway, and what a replica's death costs its callers. On this machine, by itself.

    .venv/dev/bin/python -m benchmarks.replicas --out benchmarks/out/replicas.json

Gateways before one Triton and before two take turns, in one run: CPU time of the gateway's process a request, and p50.
`--before PATH`, a folder with another version of the project, takes part as a third. Then eight users in a closed loop,
while one Triton of two is killed and started again, and stopped and continued. The model does next to nothing: what is
left is the gateway. Triton is the local one (`make setup`).
"""

import argparse
import contextlib
import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks import record
from tests.gateway.photos import encoded
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import colour_contract, colour_graph, write_model

PHOTO = encoded(300, 413)
TICKS = os.sysconf("SC_CLK_TCK")
USERS, SHARE = 8, 0.35
LONGEST_S = 30.0
"""That a Triton's share is waited for."""


@dataclass
class Gateway:
    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def metric(self, name: str, label: str) -> float:
        """The sum of the series of that name whose labels hold `label`."""
        lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{") and label in line)


@contextlib.contextmanager
def gateway(tritons: str, folder: Path = record.ROOT) -> Iterator[Gateway]:
    port, grpc_port = free_ports(2)
    settings = {"PORT": port, "GRPC_PORT": grpc_port, "TRITON": tritons, "TELEMETRY": "off", "LOG_LEVEL": "error"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    environment |= {f"GATEWAY_{name}": str(value) for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "gateway"], cwd=folder, env=environment)
    try:
        for _ in range(400):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                    break
            time.sleep(0.05)
        yield Gateway(process, port)
    finally:
        process.terminate()
        process.wait()


@dataclass
class Load:
    """Users who ask one request after the other, until `ended`."""

    port: int
    times_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def user(self, requests: int | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        while not self.ended.is_set() and requests != 0:
            began_s = time.perf_counter()
            try:
                connection.request("POST", "/v1/models/colour/predict", PHOTO, {"content-type": "image/jpeg"})
                answer = connection.getresponse()
                body = answer.read()
                failure = "" if answer.status == 200 else f"{answer.status} {body.decode()}"
            except (OSError, http.client.HTTPException) as exc:
                connection.close()
                failure = repr(exc)
            self.times_s.append(time.perf_counter() - began_s)
            if failure:
                self.failures.append(failure)
            requests = requests and requests - 1

    def run(self, users: int, requests: int | None = None) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.user, args=(requests and requests // users,)) for _ in range(users)]
        for thread in threads:
            thread.start()
        return threads


def cost(asked: Gateway, users: int, requests: int) -> dict[str, float]:
    load, began_s = Load(asked.port), asked.cpu_s()
    for thread in load.run(users, requests):
        thread.join()
    assert load.failures == []
    cpu_ms = (asked.cpu_s() - began_s) / len(load.times_s) * 1e3
    return {"cpu_ms": cpu_ms, "p50_ms": statistics.median(load.times_s) * 1e3}


def costs(tritons: list[LocalTriton], before: Path | None, rounds: int, requests: int) -> dict[str, Any]:
    """Medians of the rounds, by side and users."""
    one, both = tritons[0].address, ",".join(triton.address for triton in tritons)
    with contextlib.ExitStack() as stack:
        sides = {"one": stack.enter_context(gateway(one)), "two": stack.enter_context(gateway(both))}
        if before is not None:
            sides["before"] = stack.enter_context(gateway(one, before))
        found: dict[str, list[dict[str, float]]] = {f"{side}, {u} users": [] for side in sides for u in (1, USERS)}
        for asked in sides.values():
            cost(asked, USERS, requests)
        for _ in range(rounds):
            for users in (1, USERS):
                for side, asked in sides.items():
                    found[f"{side}, {users} users"].append(cost(asked, users, requests))
    return {
        name: {key: round(statistics.median(each[key] for each in each_round), 3) for key in each_round[0]}
        for name, each_round in found.items()
    }


def share(asked: Gateway, triton: LocalTriton, during_s: float = 0.5) -> float:
    """How much of what is answered from now on that Triton answers."""
    name = "gateway_replica_requests_total"
    own, all_ = asked.metric(name, triton.address), asked.metric(name, 'outcome="ok"')
    time.sleep(during_s)
    answered = asked.metric(name, 'outcome="ok"') - all_
    return (asked.metric(name, triton.address) - own) / max(1.0, answered)


def death(asked: Gateway, triton: LocalTriton, how: str) -> dict[str, Any]:
    """What eight users see of it."""
    retried = asked.metric("gateway_retries_total", "reason")
    load = Load(asked.port)
    threads = load.run(USERS)
    time.sleep(2.0)
    if how == "killed":
        triton.kill()
        time.sleep(2.0)
        triton.start()
    else:
        os.kill(triton.pid, signal.SIGSTOP)
        time.sleep(4.0)
        os.kill(triton.pid, signal.SIGCONT)
    back_s = time.monotonic()
    while share(asked, triton) < SHARE and time.monotonic() < back_s + LONGEST_S:
        pass
    balanced_s = time.monotonic() - back_s
    load.ended.set()
    for thread in threads:
        thread.join()
    return {
        "requests": len(load.times_s),
        "failures": len(load.failures),
        "retried": asked.metric("gateway_retries_total", "reason") - retried,
        "longest_s": round(max(load.times_s), 3),
        "p50_ms": round(statistics.median(load.times_s) * 1e3, 3),
        "balanced_again_after_s": round(balanced_s, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a folder with another version of the project")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=600, help="of each side, in each round")
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/replicas.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tritons = [LocalTriton(Path(folder) / name) for name in ("a", "b")]
        try:
            for triton in tritons:
                write_model(triton.repository, "colour", colour_contract(), colour_graph())
                triton.start("colour")
            cost_ms = costs(tritons, arguments.before, arguments.rounds, arguments.requests)
            with gateway(",".join(triton.address for triton in tritons)) as asked:
                deaths = {how: death(asked, tritons[0], how) for how in ("killed", "stopped")}
            version = tritons[0].version()
        finally:
            for triton in tritons:
                triton.kill()
    for name, figures in (cost_ms | deaths).items():
        print(f"{name:16}", *(f"{key} {value}" for key, value in figures.items()))
    load = {"loop": "closed", "rounds": arguments.rounds, "requests": arguments.requests, "deaths_users": USERS}
    photo = {"width": 413, "height": 300, "bytes": len(PHOTO)}
    record.write(arguments.out, {"triton": version, "load": load, "photo": photo, "costs": cost_ms, "deaths": deaths})


if __name__ == "__main__":
    main()
