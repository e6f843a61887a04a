"""Servers as processes of their own, started with the machine idle and gone when their turn is over."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import record

VENV = record.ROOT / ".venv"
START_S = 60.0
STOP_S = 10.0
POLL_S = 0.05
KEEPS_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""For glibc, what this project's own processes do: with it nobody faults pages in anew for every photo."""


class DidNotStart(Exception):  # noqa: N818 - what happened
    """A server ended, or did not answer in time."""


@contextmanager
def server(
    command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str], ready_url: str, log: Path
) -> Iterator[None]:
    """Run `command` until the block ends, which begins when `ready_url` answers 200; with all that it started.

    Raises:
        DidNotStart: with the end of its log.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            env=clean | KEEPS_FREED_MEMORY | environment,
            cwd=record.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends it
        )
    try:
        end_s = time.monotonic() + START_S
        while not answers(ready_url):
            if process.poll() is not None or time.monotonic() > end_s:
                raise DidNotStart(f"{' '.join(map(str, command))}:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(POLL_S)
        yield
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to what is left of it: some servers give their workers sessions of their own."""
    family = [process.pid, *descendants(process.pid)]
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that `pid` started, and those that these started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            _, _, fields = stat.read_text().rpartition(")")  # a program's name may hold anything
            children.setdefault(int(fields.split()[1]), []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered 200."""
    address = url.removeprefix("http://")
    host, _, path = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def module(name: str, python: Path = Path(sys.executable)) -> list[str]:
    """The command that runs a module of this package."""
    return [str(python), "-m", f"benchmarks.peers.{name}"]
