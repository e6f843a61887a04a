"""A real Triton for tests: started by the project's own launcher, on free ports, with a repository of its own."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv" / "triton" / "bin" / "python"
LAUNCHER = ROOT / "docker" / "triton-cpu" / "launch.py"
READY_S = 60.0
TRIES = 5
LOCK = b"boost::interprocess::lock_exception"
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def require_triton() -> None:
    """Skip where Triton's environment is missing; in CI that is a failure."""
    if PYTHON.exists():
        return
    reason = f"{PYTHON} is missing: make setup"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class LocalTriton:
    """One tritonserver process. Ports stay the same when it is started again."""

    begun: ClassVar[list["LocalTriton"]] = []
    """Those that a test may have had to do with."""
    kept: ClassVar[list["LocalTriton"]] = []
    hung: ClassVar[list[str]] = []
    """Models in whose loading a Triton waited for good."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """`arguments` are for the launcher."""
        self._arguments = arguments
        self.repository = folder / "models"
        self.repository.mkdir(parents=True)
        self.grpc_port, self.http_port, self.metrics_port = free_ports(3)
        self.address = f"127.0.0.1:{self.grpc_port}"
        self.log = folder / "triton.log"
        self._state = folder / "state"
        self._begins = 0
        """Where the log of the process there is does."""
        self._loaded: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *load: str) -> None:
        """Start it with these models and those that were loaded when it ended, and wait until it answers."""
        self._loaded.update(load)
        command: list[str | Path] = [
            PYTHON,
            LAUNCHER,
            "--model-repository",
            self.repository,
            "--state",
            self._state,
            *self._arguments,
        ]
        for kind in ("grpc", "http", "metrics"):
            command += [f"--{kind}-port", str(getattr(self, f"{kind}_port"))]
        for name in sorted(self._loaded):
            command += ["--load", name]
        for tries_left in reversed(range(TRIES)):
            with self.log.open("ab") as log:
                self._begins = log.tell()
                self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            if self._is_live():
                self.begun.append(self)
                return
            is_to_be_tried_again = tries_left and self._ended_by_its_lock()
            self.kill()
            if not is_to_be_tried_again:
                raise RuntimeError("Triton did not start:\n" + self.log.read_text()[-3000:])

    @classmethod
    def forget_the_ended(cls) -> None:
        cls.begun[:] = {triton for triton in cls.begun if triton._is_running()}

    @classmethod
    def one_was_ended_by_its_lock(cls) -> bool:
        """Whether one of those that were begun, or ran, since the ended were forgotten."""
        return any(triton._tells_of_its_lock() and triton._ended_by_its_lock() for triton in cls.begun)

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def kept_up(self) -> Iterator[Self]:
        """Once it was started, have it started again for every test that finds it ended; kill it in the end."""
        self.kept.append(self)
        try:
            yield self
        finally:
            self.kept.remove(self)
            self.kill()  # its own way to end takes ten seconds, and is tested elsewhere

    @classmethod
    def start_those_that_ended(cls) -> None:
        """By their lock, or with a test that failed: the next one is no worse for it."""
        for triton in cls.kept:
            if not triton._is_running():
                triton.kill()
                triton.start()

    def _is_live(self) -> bool:
        """Whether it comes to be."""
        assert self._process is not None
        deadline = time.monotonic() + READY_S
        while not (live := self._answers("v2/health/live")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return live

    def stop(self) -> None:
        """As its owner would: SIGTERM, and SIGKILL after a while."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a crash would, and its stubs with it: those of test models may wait forever for a lock it held."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for region in Path("/dev/shm").glob(f"jetserve_{self.grpc_port}_*"):  # noqa: S108 - as the launcher would
            region.unlink()

    def load(self, name: str) -> None:
        """Load, or load again; RuntimeError with Triton's reason when it fails."""
        try:
            self.post(f"v2/repository/models/{name}/load")
        except (urllib.error.URLError, ConnectionError, TimeoutError) as exc:
            # On a machine that stood still Triton has also waited in a load for good.
            if isinstance(exc, TimeoutError):
                self.hung.append(name)
            elif not self._ended_by_its_lock():
                raise
            self.kill()
            self.start(name)
        self._loaded.add(name)

    def unload(self, name: str) -> None:
        """Stop serving `name`, and wait until it is so."""
        self.post(f"v2/repository/models/{name}/unload")
        self._loaded.discard(name)
        deadline = time.monotonic() + READY_S
        while any(m["name"] == name and m.get("reason") != "unloaded" for m in self.post("v2/repository/index")):
            assert time.monotonic() < deadline, f"{name} is not unloaded"
            time.sleep(0.02)

    def statistics(self, name: str, images: int) -> dict[str, Any]:
        """Triton's counters of a model, once they have counted that many images, which is just after the answers.

        `inference_count` images were run by `execution_count` calls of the model's code.
        """
        deadline = time.monotonic() + READY_S
        while True:
            found: dict[str, Any] = json.loads(self._get(f"v2/models/{name}/stats"))["model_stats"][0]
            if found["inference_count"] >= images:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.01)

    def waiting(self, name: str) -> int:
        """Requests to a model that have come, and are not run yet."""
        with PAST_PROXIES.open(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=READY_S) as answer:
            text = answer.read().decode()
        found = re.search(
            rf'^nv_inference_pending_request_count{{model="{name}",version="1"}} (\d+)$', text, re.MULTILINE
        )
        assert found is not None, text
        return int(found[1])

    def version(self) -> str:
        return str(json.loads(self._get("v2"))["version"])

    def post(self, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/{path}", method="POST", data=b"{}")
        try:
            with PAST_PROXIES.open(request, timeout=READY_S) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as exc:
            with exc:
                raise RuntimeError(exc.read().decode()) from None

    def _get(self, path: str) -> bytes:
        with PAST_PROXIES.open(f"http://127.0.0.1:{self.http_port}/{path}", timeout=READY_S) as answer:
            content: bytes = answer.read()
            return content

    def _ended_by_its_lock(self) -> bool:
        """Its Python backend waits a second for a lock of a model that begins or ends, and else ends Triton (seen with
        2.51): on a machine that stands still for as long, it does."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        return self._process.poll() is not None and self._tells_of_its_lock()

    def _tells_of_its_lock(self) -> bool:
        return LOCK in self.log.read_bytes()[self._begins :]

    def _answers(self, path: str) -> bool:
        try:
            self._get(path)
        except (urllib.error.URLError, ConnectionError):
            return False
        return True
