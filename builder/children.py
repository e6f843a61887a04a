"""Processes that work for the builder and tell it in JSON lines: none outlives it, and each leaves its last words."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from builder.progress import OUR_LINE, Log

LAST_LINES = 12
MAX_TAIL_BYTES = 16_384


@contextmanager
def process_group(
    command: list[str], errors: IO[bytes], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """The child and all its children, gone when the block ends, however it ends.

    They are a process group of their own, so that Ctrl-C reaches this process alone. The pipe that is the child's
    standard input closes with this process, even if that is killed; the child ends then.
    """
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


def lines_of(process: subprocess.Popen[str]) -> Iterator[Any]:
    """What it tells, until it ends by itself; None for a line that is no JSON, as one who was killed leaves."""
    for line in process.stdout or ():
        try:
            yield json.loads(line)
        except ValueError:
            yield None
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ends by itself; reaped with its group


@contextmanager
def errors_of(log: Log | None) -> Iterator[IO[bytes]]:
    """A file for the child's standard error, standing where its lines will begin."""
    if log is None:
        with tempfile.TemporaryFile() as file:
            yield file
    else:
        with log.path.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            yield file


def tail(errors: IO[bytes]) -> str:
    """The last lines of what a process wrote."""
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - MAX_TAIL_BYTES))
    written = errors.read().decode(errors="replace").splitlines()
    lines = [line for line in written if not OUR_LINE.match(line)]  # the log holds the builder's own lines too
    return "\n".join(f"    {line}" for line in lines[-LAST_LINES:]) or "    (none)"


def death(who: str, code: int) -> str:
    """How a process ended that did not say why."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; the kernel does so when memory runs out" if name == "SIGKILL" else ""
        return f"{who} was ended by {name}{hint}"
    return f"{who} ended with exit code {code}, and said no reason"
