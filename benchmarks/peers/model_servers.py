"""How the peers that hold the model in themselves are started, each with the settings that served it best here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import record
from benchmarks.peers.processes import VENV, module

PEERS = VENV / "peers/bin"
MOSEC_BATCH = 4
"""In the layout for many users: batches gain it throughput, and cost a lone user a wait."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command; the path that is answered 200 once the server is there; and environment variables of its own."""

    command: list[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)


Launcher = Callable[[int, int, Path], Launch]
"""From a port, the number of workers, and a folder for what the server keeps."""


def bentoml(port: int, _: int, folder: Path) -> Launch:
    command = [str(PEERS / "bentoml"), "serve", "benchmarks.peers.bentoml_service:Person", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--working-dir", str(record.ROOT)]
    return Launch(command, "/readyz", {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"})


def litserve(port: int, _: int, __: Path) -> Launch:
    return Launch([*module("litserve_service", PEERS / "python"), "--port", str(port)], "/health")


def mosec(port: int, workers: int, folder: Path) -> Launch:
    command = [*module("mosec_service", PEERS / "python"), "--address", "127.0.0.1", "--port", str(port)]
    command += ["--path", str(folder / "ipc"), "--log-level", "warning", "--timeout", "30000"]
    return Launch(command, "/", {"PEER_BATCH": str(MOSEC_BATCH if workers > 1 else 1)})
