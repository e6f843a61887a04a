"""Several gateway processes on one port: they share the work and the metrics, and the end of one is only its own."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tritonclient import grpc as triton_grpc

from gateway import worker_process, workers
from gateway.__main__ import main
from gateway.exposition import FOLDER, metrics_folder
from gateway.grpc.server import PortError
from gateway.settings import Settings
from gateway.worker_process import WorkerProcess
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import answers, eventually, process, running_fake
from tests.ports import free_ports
from tests.tiny_models import colour_contract

PHOTO = encoded(40, 30)
START_S = 90.0
SHM = Path("/dev/shm")  # noqa: S108 - where the gateway keeps them


@dataclass(frozen=True)
class Together:
    """`python -m gateway --workers 2`."""

    process: subprocess.Popen[str]
    url: str
    grpc_port: int
    triton: FakeTriton

    @property
    def workers(self) -> list[int]:
        """The process ids of those that run."""
        return [int(pid) for pid in children(self.process.pid)]

    def all_serve(self) -> bool:
        """Whether connections are handed to each of the two: it counts as a worker before it can take any."""
        with ExitStack() as stack, suppress(OSError, http.client.HTTPException):
            connections = [stack.enter_context(closing(self.connection())) for _ in range(2)]
            for connection in connections:
                connection.request("GET", "/health/live")
                connection.getresponse().read()
            return len({holder(self, connection) for connection in connections}) == 2
        return False

    def metric(self, name: str) -> float:
        """The sum over its labels, as whichever worker is asked tells it."""
        families = text_string_to_metric_families(httpx.get(f"{self.url}/metrics").text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def predict(connection: http.client.HTTPConnection) -> int:
    connection.request("POST", "/v1/models/colour/predict", PHOTO, {"content-type": "image/jpeg"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def holder(together: Together, connection: http.client.HTTPConnection) -> int:
    """The process id of the worker that has the other end."""
    ends = [f"{end[1]:04X}" for end in (connection.sock.getpeername(), connection.sock.getsockname())]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [line[9] for line in lines if [line[1][-4:], line[2][-4:]] == ends]
    for pid in together.workers:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return pid
    raise AssertionError("no worker has it")


@contextmanager
def running(**settings: object) -> Iterator[Together]:
    [grpc_port] = free_ports(1)
    given = {"workers": 2, "grpc_port": grpc_port, "refresh_s": 0.1} | settings
    with running_fake({"colour": FakeModel(colour_contract())}) as fake, process(triton=fake.address, **given) as own:
        started, url = own
        together = Together(started, url, grpc_port, fake)
        eventually(lambda: answers(url), within_s=START_S)
        eventually(together.all_serve, within_s=START_S)
        yield together
        started.terminate()
        started.communicate(timeout=20)


@pytest.fixture(scope="module")
def together() -> Iterator[Together]:
    with running() as running_together:
        yield running_together


def test_connections_are_taken_in_turns(together: Together) -> None:
    """Kept-alive connections stay where they are: of eight, each of two workers has four."""
    with ExitStack() as stack:
        held = []
        for _ in range(8):
            connection = stack.enter_context(closing(together.connection()))
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            held.append(holder(together, connection))
    assert sorted(map(held.count, together.workers)) == [4, 4]


def test_any_worker_tells_the_metrics_of_all(together: Together) -> None:
    """Counters, histograms and gauges are sums, whoever is asked; what all must be able to do is what the least can."""
    before = together.metric("gateway_requests_total")
    connections = [together.connection() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            assert list(threads.map(predict, connections)) == [200] * 4
    told = [
        [together.metric(name) for name in ("gateway_requests_total", "gateway_permits", "gateway_models_ready")]
        for _ in range(4)
    ]
    assert told == [[before + 20, 32, 1]] * 4
    assert together.metric("gateway_requests_in_flight") == 0
    for connection in connections:
        connection.close()


def test_grpc_on_the_shared_port(together: Together) -> None:
    """Every worker listens there: new connections find one or the other, and each serves."""
    for _ in range(4):
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{together.grpc_port}") as client:
            assert client.is_model_ready("colour")


def test_nobody_else_gets_the_ports(together: Together) -> None:
    """A second gateway is told which port is taken before any of its workers starts."""
    taken = {"port": int(together.url.rpartition(":")[2]), "grpc_port": together.grpc_port}
    for name, port in taken.items():
        settings = Settings.model_validate({"workers": 2, "port": 0, "grpc_port": 0, name: port})
        with pytest.raises(PortError) as told:
            workers.serve_together(settings)
        assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in str(told.value)
        assert f"choose another with GATEWAY_{name.upper()}" in str(told.value)


def test_a_host_that_is_none_is_named() -> None:
    """In the words of whoever looked for it."""
    with pytest.raises(PortError, match=r"cannot listen on port \d+ of no\.such\.invalid: .*(not known|resolution)"):
        workers.serve_together(Settings(workers=2, host="no.such.invalid", port=0, grpc_port=0))


def test_the_end_of_one_is_only_its_own(together: Together) -> None:
    """Killed, it is replaced; the others go on, what it counted stays, what it had does not, and nobody is refused."""
    first, second = together.workers
    connections = [together.connection() for _ in range(2)]
    assert [predict(connection) for connection in connections] == [200, 200]
    [kept] = [connection for connection in connections if holder(together, connection) == second]
    counted = together.metric("gateway_requests_total")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: first not in together.workers, within_s=10)  # until it is seen to have ended it is handed more
    eventually(lambda: together.metric("gateway_permits") == 16, within_s=10)
    answered = 0
    while together.metric("gateway_workers") < 2:
        with closing(together.connection()) as connection:
            assert [predict(kept), predict(connection)] == [200, 200]
        answered += 2
    assert second in together.workers
    assert answered
    assert together.metric("gateway_requests_total") == counted + answered
    eventually(lambda: together.metric("gateway_permits") == 32, within_s=10)
    for connection in connections:
        connection.close()


def test_a_signal_lets_requests_finish_and_leaves_nothing() -> None:
    """SIGTERM, once for all: what is in work is answered, then nothing is left; not a process, not a file."""
    with running() as together, ThreadPoolExecutor(1) as threads, closing(together.connection()) as connection:
        together.triton.hangs = True
        slow = threads.submit(predict, connection)
        eventually(lambda: together.triton.running, within_s=10)
        pids = [together.process.pid, *together.workers]
        together.process.send_signal(signal.SIGTERM)
        work_ends = threading.Timer(0.5, setattr, (together.triton, "hangs", False))
        work_ends.start()
        _, log = together.process.communicate(timeout=20)
        work_ends.join()
        assert slow.result() == 200
        assert together.process.returncode == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert "Traceback" not in log
    assert not list(SHM.glob(f"jetserve_gateway_{pids[1]}_*"))


KEPT_IN = """
import functools, pathlib, sys
from gateway import __main__, workers
workers.metrics_folder = functools.partial(workers.metrics_folder, pathlib.Path(sys.argv[1]))
sys.exit(__main__.main([]))
"""


def test_workers_do_not_outlive_who_started_them(tmp_path: Path) -> None:
    """Killed, it takes them along; the next one removes the folder that it leaves, and not that of one who lives.

    Port 0 is one port for all of them, as the log says. Metrics are in a folder of their own: any gateway that starts
    on this machine in between would be the next one.
    """
    command = [sys.executable, "-c", KEPT_IN, str(tmp_path)]
    with metrics_folder(tmp_path) as of_one_who_lives, process(command, workers=2, port=0) as (started, _):
        assert started.stderr is not None
        found = re.search(r"2 workers, HTTP on 127.0.0.1 port (\d+), gRPC on (\d+)", started.stderr.readline())
        assert found is not None
        eventually(lambda: answers(f"http://127.0.0.1:{found[1]}"), within_s=START_S)
        socket.create_connection(("127.0.0.1", int(found[2]))).close()
        pids = children(started.pid)
        folder = folder_of(pids[0])
        started.kill()
        eventually(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], within_s=20)
        assert folder.parent == tmp_path
        assert folder.is_dir()
        with metrics_folder(tmp_path):
            assert not folder.exists()
            assert of_one_who_lives.is_dir()


def folder_of(pid: int | str) -> Path:
    """Where a worker's metrics are."""
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    [folder] = [value.partition("=")[2] for value in environment if value.startswith(FOLDER)]
    return Path(folder)


def test_one_that_cannot_start_is_tried_again_less_and_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Twice the pause each time, as the log says."""
    monkeypatch.setattr(worker_process, "FIRST_PAUSE_S", 0.01)
    worker = WorkerProcess(1, {**os.environ, "GATEWAY_NONE": "1"}, tmp_path)
    ends = 0
    while ends < 2:
        ends += worker.look()
        time.sleep(0.005)
    worker.kill()
    pauses = re.findall(r"ended with status 1; another takes its place in (\S+) s", caplog.text)
    assert pauses == ["0.01", "0.02"]


def test_none_that_ever_serves_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a reason that starting again does not cure."""
    monkeypatch.setattr(workers, "_environment", lambda *_: {**os.environ, "GATEWAY_NONE": "1"})
    assert workers.serve_together(Settings(workers=2, port=0, grpc_port=0)) == 1


def test_workers_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless told otherwise: as many threads in all as there are processors, rounded up."""
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert [Settings(workers=count).decode_threads for count in (1, 2, 4, 8)] == [6, 3, 2, 1]
    assert Settings(workers=4, decode_threads=5).decode_threads == 5


@pytest.mark.parametrize("count", ["0", "65", "two"])
def test_a_number_that_cannot_be(
    count: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the environment it is refused before anything starts."""
    monkeypatch.setenv("GATEWAY_WORKERS", count)
    assert main([]) == 2
    assert "GATEWAY_WORKERS" in capsys.readouterr().err
