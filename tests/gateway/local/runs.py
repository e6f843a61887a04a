"""The command line of a local run, and what is to be seen of its processes."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.local.settings import PORTS
from tests.local_triton import LOCK, TRIES
from tests.ports import free_ports

READY_S = 30.0
LATE_S = 150.0


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

    @contextmanager
    def popen(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """One that has not ended by then is killed."""
        places = [f"--repository={self.repository}", f"--run-folder={self.folder / 'run'}"]
        with subprocess.Popen(
            [sys.executable, "-m", "gateway.local", *arguments, *places],
            env={**os.environ, **{name: str(port) for name, port in self.ports.items()}, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """A run that is ready, killed afterwards; of a Triton that ended as in `LocalTriton`, the next."""
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


def said_until(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """Its lines, up to the first with the pattern in it, or to its end, which comes when it has taken too long."""
    assert process.stdout is not None
    said = [""]
    late = threading.Timer(LATE_S, process.kill)
    late.start()
    try:
        for line in process.stdout:
            said.append(line)
            if re.search(pattern, line):
                break
    finally:
        late.cancel()
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
    """It and all below it."""
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        children += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [pid, *(below for child in children for below in descendants(child))]
