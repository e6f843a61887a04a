"""That somebody watches as long as Triton runs: a process that waits for the one that watches, and starts it again.

The kernel may kill that one where memory is short, or a mistake of ours end it. Triton, which this process is a child
of, would not notice; nothing that is served depends on it.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from builder.children import death
from builder.engines.program import BUILD_TIMEOUT_S
from builder.interrupts import SIGNALS
from builder.progress import say

STEP = "ensure"
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 300.0
CALM_S = 1.5 * BUILD_TIMEOUT_S
"""Longer than any build: who is killed at the end of each is started again later and later."""
LOOK_S = 0.5
PATIENCE_S = 5.0
"""For the one that watches to end by itself: a build that it ends takes its child along."""
INTERRUPTED = 130

Watching = Callable[[int], None]
"""Goes on until the process of that number, its parent, has ended."""


def keep(watch: Watching, parent: int) -> None:
    """Have `watch` run in a process of its own, and again when it ends, until `parent`, which is this one's, has ended.

    The pauses before it is started again double; after one that ran for as long as `CALM_S` they begin anew.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        began_s = time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until it is known whom to take along
        try:
            child = _started(watch)
        except OSError as exc:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            ended = f"the process that watches for artefacts could not be started: {exc.strerror}"
        else:
            if (code := _ended(child, parent)) is None:
                return
            ended = death("the process that watches for artefacts", code)
        if time.monotonic() - began_s > CALM_S:
            pause_s = FIRST_PAUSE_S
        say(STEP, f"{ended}. What is served is served still; it is started again in {pause_s:g} s")
        again_s = time.monotonic() + pause_s
        while time.monotonic() < again_s:
            if os.getppid() != parent:
                return
            time.sleep(min(LOOK_S, pause_s))
        pause_s = min(2 * pause_s, LAST_PAUSE_S)


def _started(watch: Watching) -> int:
    """The number of a new process that watches, and that comes back from nothing."""
    own = os.getpid()
    if (child := os.fork()) != 0:
        return child
    code = 1
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            watch(own)
            code = 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except Exception:  # noqa: BLE001 - whatever it is, it is told, and the next one begins anew
            traceback.print_exc()
        sys.stdout.flush()
    finally:
        os._exit(code)


def _ended(child: int, parent: int) -> int | None:
    """What it ended with, the number of a signal below 0; None once `parent` has ended, and it with that."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        while os.getppid() == parent:
            if (code := _code_of(child)) is not None:
                return code
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        _end(child, after_s=PATIENCE_S / 5)  # at a terminal it has got the same Ctrl-C, and cleans up
        raise
    _end(child)
    return None


def _code_of(child: int) -> int | None:
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _end(child: int, after_s: float = 0.0) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        if _has_ended(child, after_s):
            return
        os.kill(child, signal.SIGTERM)
        if not _has_ended(child, PATIENCE_S):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _has_ended(child: int, within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while _code_of(child) is None:
        if time.monotonic() >= until_s:
            return False
        time.sleep(0.05)
    return True
