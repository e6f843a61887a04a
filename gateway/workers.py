"""Several gateway processes on one HTTP port and one gRPC port: started, watched, started again, ended.

This process accepts HTTP's connections and hands them to the workers in turns: kept-alive ones stay where they are, and
workers that accepted for themselves would take seven and one of eight. gRPC takes no connection from elsewhere: there
each worker listens for itself (SO_REUSEPORT), and the kernel draws lots.
"""

import logging
import math
import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gateway.exposition import FOLDER, metrics_folder
from gateway.grpc.server import PortError, require_port
from gateway.logs import log_to_stderr
from gateway.settings import Settings, variable_of
from gateway.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

LOOK_S = 0.05
BACKLOG = 2048
MARGIN_S = 3.0
"""For a worker to close, after the last request has had its deadline."""


def serve_together(settings: Settings) -> int:
    """Serve with `settings.workers` processes until told to stop; the exit status comes back.

    Raises:
        PortError: before any of them is started.
    """
    with ExitStack() as stack:
        http = stack.enter_context(_listening(settings.host, settings.port))
        grpc_port = stack.enter_context(_kept(settings.host, settings.grpc_port))
        asked = stack.enter_context(_noted_signals())
        folder = stack.enter_context(metrics_folder())
        log_to_stderr(settings.log_level, "workers")
        port = http.getsockname()[1]
        logger.info("%d workers, HTTP on %s port %d, gRPC on %d", settings.workers, settings.host, port, grpc_port)
        workers = [
            WorkerProcess(number, _environment(settings, port, grpc_port, folder), folder)
            for number in range(1, settings.workers + 1)
        ]
        turns = Turns(http, workers)
        try:
            return _watch(workers, turns, asked)
        finally:
            for worker in workers:
                worker.terminate()
            if asked:
                _drain(workers, turns, asked, settings.drain_s)
            http.close()
            _end(workers, asked, grace_s=2 * math.ceil(settings.deadline_s) + MARGIN_S)


def _environment(settings: Settings, port: int, grpc_port: int, folder: Path) -> dict[str, str]:
    given = {"workers": settings.workers, "port": port, "grpc_port": grpc_port}
    return {**os.environ, **{variable_of(name): str(value) for name, value in given.items()}, FOLDER: str(folder)}


class Turns:
    """Connections, from the socket that listens to the workers that serve. While none does they wait in the kernel."""

    def __init__(self, http: socket.socket, workers: Sequence[WorkerProcess]) -> None:
        self._http, self._workers = http, workers
        self._next = 0
        self._waiting: socket.socket | None = None

    def hand_over(self, timeout_s: float) -> None:
        """One connection, if one comes in time."""
        if self._waiting is None:
            serving = any(worker.serves for worker in self._workers)
            if not serving or not select.select([self._http], [], [], timeout_s)[0]:
                time.sleep(0 if serving else timeout_s)
                return
            with suppress(OSError):  # gone already, or there are too many open files
                self._waiting, _ = self._http.accept()
        if self._waiting is not None and self._took(self._waiting):
            self._waiting.close()
            self._waiting = None
        elif self._waiting is not None:
            time.sleep(timeout_s)

    def _took(self, connection: socket.socket) -> bool:
        for _ in self._workers:
            worker = self._workers[self._next]
            self._next = (self._next + 1) % len(self._workers)
            if worker.take(connection):
                return True
        return False


def _watch(workers: Sequence[WorkerProcess], turns: Turns, asked: Sequence[int]) -> int:
    """Keep them all going until a signal asks for the end: 0. Not if none ever served, which has a reason: 1."""
    while not asked:
        for worker in workers:
            if worker.look() and not any(other.has_served for other in workers):
                logger.error("worker %d ended before any of them served", worker.number)
                return 1
        turns.hand_over(LOOK_S)
    return 0


def _drain(workers: Sequence[WorkerProcess], turns: Turns, asked: Sequence[int], drain_s: float) -> None:
    """Connections are handed on a while longer, to workers that close each with its first answer; a signal ends it."""
    end_s, first = time.monotonic() + drain_s, len(asked)
    while len(asked) == first and time.monotonic() < end_s:
        turns.hand_over(LOOK_S)
    if len(asked) > first:
        for worker in workers:
            worker.terminate()


def _end(workers: Sequence[WorkerProcess], asked: Sequence[int], grace_s: float) -> None:
    """Let requests in work finish; when that takes too long, or a second signal comes, do not."""
    end_s, first = time.monotonic() + grace_s, len(asked)
    while any(worker.runs for worker in workers) and len(asked) == first and time.monotonic() < end_s:
        time.sleep(LOOK_S)
    for worker in workers:
        worker.kill()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        http = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as exc:
        why = str(exc.strerror)
        if exc.errno is not None and exc.errno > 0:  # not of who looked for the host; Python's words hold the address
            why = os.strerror(exc.errno)
        raise PortError(
            f"HTTP cannot listen on port {port} of {host}: {why}; choose another with {variable_of('port')}"
        ) from exc
    with http:
        http.setblocking(False)
        yield http


@contextmanager
def _kept(host: str, port: int) -> Iterator[int]:
    """A port for the gRPC of every worker; a socket that never listens keeps it from others, dead workers or not.

    Raises:
        PortError
    """
    require_port(host, port)
    with socket.socket(_family(host)) as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            keeper.bind((host, port))
        except OSError:  # connections of the gateway before are still being closed
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind((host, port))
        yield keeper.getsockname()[1]


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """The signals to end that have come: the end is between two steps."""
    noted: list[int] = []
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _: noted.append(n)) for number in handled}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
