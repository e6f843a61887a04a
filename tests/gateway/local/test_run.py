"""A whole local run: real Triton, real gateway, started and ended as `make` does it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clients import GatewayClient
from gateway.local.run_lock import running_in
from gateway.local.settings import PORTS
from tests.local_triton import LOCK, ROOT, TRIES, require_triton
from tests.ports import free_ports
from tests.tiny_models import colour_contract, colour_graph, write_model
from tests.triton.situations import SCRIPT

pytestmark = pytest.mark.triton

PHOTO = ROOT / "tests" / "assets" / "balloons.jpg"
READY_S = 30.0


@dataclass
class LocalRun:
    """The command line of one run folder, on ports of its own."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: dict(
            zip(
                PORTS,
                free_ports(len(PORTS)),
                strict=True,
            )
        )
    )

    environment: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.folder / "models"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT']}"

    def pid(self, name: str) -> int:
        return int((self.folder / "run" / f"{name}.pid").read_text().split()[0])

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        places = [f"--repository={self.repository}", f"--run-folder={self.folder / 'run'}"]
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.local", *arguments, *places],
            env={**os.environ, **{name: str(port) for name, port in self.ports.items()}, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """A run that is ready; of a Triton that ended as in `LocalTriton`, the next."""
        for tries_left in reversed(range(TRIES)):
            with self.popen("run") as run:
                said = said_until(run, "^ready: ")
                if re.search("^ready: ", said[-1]):
                    yield run
                    return
            if not tries_left or LOCK.decode() not in "".join(said):
                pytest.fail("it ended without being ready:\n" + "".join(said))

    def call(self, *arguments: str) -> tuple[int, str]:
        """Exit status and what was said; of a Triton that ended as in `LocalTriton`, the next."""
        for _ in range(TRIES):
            with self.popen(*arguments) as process:
                said, _ = process.communicate(timeout=120)
            if LOCK.decode() not in said:
                break
        return process.returncode, said


@pytest.fixture
def local_run(tmp_path: Path) -> Iterator[LocalRun]:
    require_triton()
    run = LocalRun(tmp_path)
    write_model(run.repository, "colour", colour_contract(), colour_graph())
    yield run
    if left := running_in(tmp_path / "run"):
        os.kill(left.pid, signal.SIGKILL)  # what it started dies with it, which test_killed_supervisor sees to
    for region in Path("/dev/shm").glob(f"jetserve_{run.ports['TRITON_GRPC_PORT']}_*"):  # noqa: S108 - a killed Triton's
        region.unlink()


def said_until(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """Its lines, up to the first with the pattern in it, or to its end."""
    assert process.stdout is not None
    said = [""]
    for line in process.stdout:
        said.append(line)
        if re.search(pattern, line):
            break
    return said


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> None:
    if not re.search(pattern, said_until(process, pattern)[-1]):
        pytest.fail(f"it ended without saying {pattern!r}")


def wait_for_end(pids: Sequence[int]) -> None:
    """Until none of them lives; one that is dead but not yet waited for by its parent is at its end."""
    deadline = time.monotonic() + READY_S
    while alive := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < deadline, "still alive: " + ", ".join(map(_command, alive))
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _command(pid: int) -> str:
    with suppress(FileNotFoundError):
        return f"{pid} ({Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')})"
    return str(pid)


def descendants(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        children += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [pid, *(below for child in children for below in descendants(child))]


def test_background(local_run: LocalRun) -> None:
    """In the background it comes back once it answers, is found by the next command, and ends whole."""
    status, said = local_run.call("run", "--background")
    assert status == 0, said
    assert re.search(r"^colour\s+1\s+ready", said, re.MULTILINE)
    assert re.search(r"^balloons.jpg\s+(blue|green|red)\s+0\.\d{3}$", said, re.MULTILINE)
    assert f"ready: {local_run.address}  docs: {local_run.address}/docs  gRPC: 127.0.0.1:" in said
    with GatewayClient(local_run.address) as client:
        assert client.predict(PHOTO, "colour").classes
    assert local_run.call("run", "--background") == (
        0,
        f"already running at {local_run.address} (process {local_run.pid('supervisor')})\n",
    )
    status, said = local_run.call("run")
    assert (status, f"already running at {local_run.address}" in said) == (1, True)
    assert local_run.call("status")[0] == 0
    processes = descendants(local_run.pid("supervisor"))
    assert len(processes) == 4  # the supervisor, the gateway, Triton and the model's stub
    assert local_run.call("stop") == (0, "stopped\n")
    wait_for_end(processes)
    assert "All models are stopped" in (local_run.folder / "run" / "triton.log").read_text()
    assert local_run.call("status")[0] == 3
    assert local_run.call("stop") == (0, "not running\n")


@pytest.mark.parametrize("name", ["triton", "gateway"])
def test_end_of_a_child(local_run: LocalRun, name: str) -> None:
    """When either process dies the run ends with its last lines, a failure, and nothing left."""
    with local_run.running() as run:
        processes = descendants(run.pid)
        os.kill(local_run.pid(name), signal.SIGKILL)
        said, _ = run.communicate(timeout=30)
    assert run.returncode == 1
    assert f"{name} ended with status -9; the end of {local_run.folder / 'run' / name}.log:" in said
    assert ("Started GRPCInferenceService" if name == "triton" else "Application startup complete") in said
    wait_for_end(processes)


def test_killed_supervisor(local_run: LocalRun) -> None:
    """A supervisor that is killed leaves nobody behind, and the next run starts at once on the same ports."""
    with local_run.running() as run:
        processes = descendants(run.pid)
        run.kill()
    wait_for_end(processes)
    status, said = local_run.call("run", "--background")
    assert status == 0, said


def test_signal_while_starting(local_run: LocalRun) -> None:
    """Ctrl-C before it is ready ends it as well, and is no failure."""
    with local_run.popen("run") as run:
        wait_for_line(run, "^waiting for Triton")
        processes = descendants(run.pid)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)
    assert run.returncode == 0
    wait_for_end(processes)


def test_second_signal(local_run: LocalRun) -> None:
    """A second signal does not wait for a gateway that does not end."""
    with local_run.running() as run:
        processes = descendants(run.pid)
        os.kill(local_run.pid("gateway"), signal.SIGSTOP)
        run.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(timeout=1)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=15)  # the gateway would be waited for longer
    assert run.returncode == 0
    wait_for_end(processes)


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (dict.fromkeys(("http_proxy", "all_proxy"), "http://127.0.0.1:9") | {"no_proxy": "", "NO_PROXY": ""}, "ready"),
        ({"GATEWAY_HOST": "::1"}, r"ready: http://\[::1\]:"),
        ({"GATEWAY_HOST": "::"}, r"ready: http://\[::1\]:"),
        ({"GATEWAY_MAX_PIXELS": "10"}, "note: colour gave no prediction for balloons.jpg: .*pixels"),
    ],
)
def test_surroundings(local_run: LocalRun, environment: dict[str, str], line: str) -> None:
    """Proxies are not asked for this machine, IPv6 is an address, and a refused picture is no reason to end."""
    local_run.environment = environment
    status, said = local_run.call("run", "--background")
    assert status == 0, said
    assert re.search(f"^{line}", said, re.MULTILINE)
    assert local_run.call("stop") == (0, "stopped\n")


def test_broken_model(local_run: LocalRun) -> None:
    """A model that fails to load is shown with its reason; the others are served."""
    write_model(local_run.repository, "broken", colour_contract(), script=SCRIPT, parameters={"refuse": "1"})
    status, said = local_run.call("run", "--background")
    assert status == 0, said
    assert re.search(r"^broken\s+1\s+not ready: .*RuntimeError: these weights cannot be read", said, re.MULTILINE)
    assert re.search(r"^colour\s+1\s+ready", said, re.MULTILINE)


def test_start_that_fails(local_run: LocalRun) -> None:
    """In the background, too, a start that fails says why and is a failure."""
    ports = local_run.ports | {"TRITON_HTTP_PORT": local_run.ports["GATEWAY_PORT"]}
    status, said = LocalRun(local_run.folder, ports).call("run", "--background")
    assert status == 2
    assert "GATEWAY_PORT and TRITON_HTTP_PORT are both" in said
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(local_run.ports["TRITON_GRPC_PORT"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as intruder:
        wait_for_line(intruder, "Serving HTTP")
        status, said = local_run.call("run", "--background")
        intruder.kill()
    assert status == 2
    assert f"by process {intruder.pid} (" in said
    assert said.rstrip().endswith("choose another port with TRITON_GRPC_PORT")
