"""A gateway of one's own, started with the settings that are tried and ended again; anybody else's stays as it is."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Self

from clients.gateway_sync import GatewayClient
from loadtest.ports import free_ports
from loadtest.tune.candidate import Candidate
from vision.errors import BackendUnavailable, JetserveError

ENDS_WITH_ITS_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as exc:
    sys.exit(f"{sys.argv[1]} cannot be started: {exc.strerror}")
"""
"""PR_SET_PDEATHSIG, kept over exec: where the search is killed, nobody else would end it. In a process between, because
gRPC's threads do not bear a fork."""
READY_S, END_S, LOOK_S = 30.0, 15.0, 0.1


class OwnGateway:
    """`command` starts one in the foreground, which GATEWAY_… variables tell where to listen and how it is set."""

    def __init__(self, command: str, triton: str, model: str) -> None:
        self._command, self._triton, self._model = shlex.split(command), triton, model
        self._port, self._grpc_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this
        self._settings: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def serve(self, candidate: Candidate) -> bool:
        """Have one with these settings, which answers for the model; the one that is there where it has them.

        Whether it is another one comes back.

        Raises:
            BackendUnavailable: it did not start, and what it said.
        """
        if self._process is not None and self._process.poll() is None and self._settings == candidate.environment:
            return False
        self.end()
        self._settings = candidate.environment
        address = {"HOST": "127.0.0.1", "PORT": self._port, "GRPC_PORT": self._grpc_port, "TRITON": self._triton}
        environment = os.environ | {f"GATEWAY_{name}": str(value) for name, value in address.items()} | self._settings
        self._process = subprocess.Popen(  # noqa: S603 - what the caller gave
            [sys.executable, "-c", ENDS_WITH_ITS_PARENT, *self._command],
            env=environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True,  # Ctrl-C is for the search, which ends it
        )  # fmt: skip
        end_s = time.monotonic() + READY_S
        with GatewayClient(self.url, timeout_s=2.0, retries=0) as client:
            while not self._is_ready(client):
                if self._process.poll() is not None or time.monotonic() > end_s:
                    said = self._said()
                    self.end()
                    raise BackendUnavailable(f"{shlex.join(self._command)} did not serve {self._model}: {said}")
                time.sleep(LOOK_S)
        return True

    def _is_ready(self, client: GatewayClient) -> bool:
        try:
            return client.model(self._model).ready
        except JetserveError:
            return False

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-500:] or "it said nothing"

    def end(self) -> None:
        """None is there after this."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._log.close()
