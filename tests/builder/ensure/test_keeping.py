"""Beside Triton there is always one who watches."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest

from tests.builder.test_worker import is_gone

ROOT = Path(__file__).parents[3]


@contextmanager
def kept(watch: str, calm_s: float = 3600.0, first: str = "pass") -> Iterator["subprocess.Popen[str]"]:
    """A process that keeps this expression watching for as long as the test's, with short pauses, and does `first`."""
    program = (
        "import os, time; from builder.ensure import keeping; from builder.interrupts import end_like_ctrl_c; "
        f"keeping.FIRST_PAUSE_S, keeping.LAST_PAUSE_S, keeping.CALM_S, keeping.LOOK_S = 0.1, 0.2, {calm_s}, 0.01; "
        f"end_like_ctrl_c(); {first}; "
        f"keeping.keep(lambda parent: {watch}, os.getppid())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("watch", "calm_s", "pauses"),
    [("1 / 0", 3600.0, ["0.1 s", "0.2 s", "0.2 s"]), ("time.sleep(0.4)", 0.3, ["0.1 s", "0.1 s", "0.1 s"])],
)
def test_one_that_ends_is_started_again(watch: str, calm_s: float, pauses: list[str]) -> None:
    """After a pause that doubles up to the longest, and begins anew after one that ran for long."""
    with kept(watch, calm_s) as process:
        assert process.stdout is not None
        lines = list(islice((line for line in process.stdout if "started again" in line), len(pauses)))
    assert [line.split(" in ")[-1].strip() for line in lines] == pauses


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        ("1 / 0", ["ZeroDivisionError: division by zero", "ended with exit code 1"]),
        ("os.kill(os.getpid(), 9)", ["was ended by SIGKILL; the kernel does so when memory runs out"]),
    ],
)
def test_it_is_said_what_it_ended_with(watch: str, words: list[str]) -> None:
    """With the traceback of a mistake, and that nothing else has come to an end."""
    with kept(watch) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "started again" in line:
                break
    assert all(word in said for word in [*words, "What is served is served still"]), said


def test_one_that_cannot_be_started_is_tried_again() -> None:
    """Where processes or memory are short, for a while; it can still be ended."""
    refused = "(_ for _ in ()).throw(BlockingIOError(11, 'Resource temporarily unavailable'))"
    first = f"calls, fork = [], os.fork; os.fork = lambda: calls.append(1) or (fork() if len(calls) > 2 else {refused})"
    with kept("print('watching', flush=True) or time.sleep(60)", first=first) as process:
        assert process.stdout is not None
        lines = list(islice((line for line in process.stdout if "ensure" in line or "watching" in line), 3))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) != 0
    for line in lines[:2]:
        assert "could not be started: Resource temporarily unavailable. What is served is served still" in line
    assert "watching" in lines[2]


def test_ended_it_takes_along_who_watches() -> None:
    """A build of hours, say, which would not look for its parent before it is done; and one that just began."""
    busy = "fork = os.fork; os.fork = lambda: (child := fork()) and (time.sleep(0.5) or child)"
    with kept("print(os.getpid(), flush=True) or time.sleep(60)", first=busy) as process:
        assert process.stdout is not None
        watching = int(process.stdout.readline())
        process.terminate()
        process.wait(30)
        assert is_gone(watching)
