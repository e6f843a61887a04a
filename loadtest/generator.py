"""Locust as a child process: it does what stands in the timetable, and writes down what came of it."""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import MappingProxyType

import psutil

from clients.headers import Headers
from loadtest import timetable
from loadtest.headers import handed_over, variables
from loadtest.plan import Plan
from loadtest.ports import free_ports
from loadtest.timetable import Timetable

LOCUSTFILE = Path(__file__).parent / "locustfile.py"
GRACE_S = 5.0
KEPT_LINES = 40


class Generator:
    """Runs from the beginning until `stop`; it ends with this process, whatever happens to it."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        first: Timetable,
        headers: Headers = MappingProxyType({}),
        *,
        stays: bool = False,
    ) -> None:
        """With `stays` it waits for another timetable where one is over. `headers` have the plan's secrets in their
        places, which the environment of its processes has not.
        """
        self.stays = stays
        self.folder = folder
        self._timetable = folder / "timetable.json"
        self.change(first)
        theirs, self._ours = os.pipe()
        os.set_blocking(theirs, False)
        secret = variables(plan.told_headers())
        try:
            with handed_over(headers) as secrets:
                self._process = subprocess.Popen(  # noqa: S603 - our own arguments, and no shell
                    [
                        *command(plan, folder, self._timetable),
                        *("--headers-from", str(secrets.fileno())),
                        *(["--stays"] if stays else []),
                    ],
                    stdin=theirs,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[secrets.fileno()],
                    env={name: value for name, value in os.environ.items() if name not in secret},
                    start_new_session=True,  # Ctrl-C is for this process, which ends the other
                )
        finally:
            os.close(theirs)
        self._stopped = False
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._reader = threading.Thread(target=self._read, name="generator-log", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def change(self, now: Timetable) -> None:
        """What it is to do from now on."""
        timetable.write(self._timetable, now)

    def is_through(self, now: Timetable) -> bool:
        """Whether all that a timetable asked for is answered and written down, of one that stays."""
        return now.end_s is not None and timetable.through(self.folder) == now.end_s

    def processes(self) -> list[psutil.Process]:
        """All that belong to it."""
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.Error:
            return []

    def said(self) -> str:
        """The end of its log, for an error."""
        lines = [line for line in self._said if line.strip()]
        told = [line.removeprefix("loadtest: ") for line in lines if line.startswith("loadtest: ")]
        return told[0] if told else " / ".join(lines[-3:])

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended by itself."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End it and all its processes, gently first; once is enough."""
        if self._stopped:
            return
        self._stopped = True
        others = self.processes()
        self._end("terminate", others[:1])
        deadline_s = time.monotonic() + grace_s
        if not self.wait(grace_s):
            self._end("kill", others)
        os.close(self._ours)
        _, left = psutil.wait_procs(others, max(0.1, deadline_s - time.monotonic()))
        self._end("kill", left)
        self._process.wait()
        self._reader.join(GRACE_S)
        if self._process.stderr is not None:
            self._process.stderr.close()

    @staticmethod
    def _end(how: str, processes: list[psutil.Process]) -> None:
        for process in processes:
            try:
                getattr(process, how)()
            except psutil.Error:  # it has ended
                continue

    def _read(self) -> None:
        if self._process.stderr is not None:
            for line in self._process.stderr:
                self._said.append(line.decode("utf-8", "replace").rstrip())


def command(plan: Plan, folder: Path, timetable_path: Path) -> list[str]:
    """Locust's command line."""
    given = [
        *("--headless", "--only-summary", "--loglevel", "WARNING"),
        *("--host", plan.host, "--transport", plan.transport, "--images", plan.images),
        *("--think", str(plan.think_s), "--arrivals", plan.arrivals, "--seed", str(plan.seed)),
        *("--max-in-flight", str(plan.max_in_flight), "--timeout", str(plan.timeout_s)),
        *("--samples", str(folder), "--timetable", str(timetable_path), "--ends-with-stdin"),
    ]
    if plan.models:
        given += ["--model", ",".join(f"{name}:{weight}" for name, weight in plan.models.items())]
    if plan.template is not None:
        given += ["--template", plan.template]
    if plan.is_open:
        given.append("--open-loop")
    if plan.processes > 1:  # its own port: another run may go on
        port = str(free_ports(1)[0])
        given += ["--processes", str(plan.processes), "--master-bind-port", port, "--master-port", port]
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *given]
