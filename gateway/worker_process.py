"""One worker: a process, and those that take its place when it dies."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.exposition import forget_gauges
from gateway.local.child import TETHER, manner

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Before a dead one is replaced: twice as long each time, until one has served for as long as the longest."""


class WorkerProcess:
    """Starts `gateway.worker`, which ends when this process does, whatever happens to it."""

    def __init__(self, number: int, environment: Mapping[str, str], metrics: Path) -> None:
        self.number = number
        self._environment, self._metrics = environment, metrics
        self._pause_s, self._again_s, self._since_s = FIRST_PAUSE_S, 0.0, 0.0
        self.serves = self.has_served = False
        """Whether it does; whether it or one before it did."""
        self._process, self._channel = self._started()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def look(self) -> bool:
        """See whether it serves, has ended, or is to be replaced now; True when it is seen to have ended."""
        if self._again_s:
            if time.monotonic() >= self._again_s:
                self._again_s = 0.0
                self._process, self._channel = self._started()
            return False
        if not self.serves:
            self._look_if_serving()
        if self.runs:
            return False
        self._ended()
        return True

    def take(self, connection: socket.socket) -> bool:
        """Whether it was given the connection: not if it does not serve, or has as many before it as there may be."""
        if self.serves:
            with suppress(OSError):
                socket.send_fds(self._channel, [b"."], [connection.fileno()])
                return True
        return False

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """Have it ended now."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _started(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The process, and the channel on which it says that it serves, and gets its connections."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here.setblocking(False)
        tether = [sys.executable, str(TETHER), str(os.getpid()), str(int(signal.SIGTERM))]
        command = [sys.executable, "-m", "gateway.worker", str(self.number), str(there.fileno())]
        with there:
            process = subprocess.Popen(  # noqa: S603 - this same program
                [*tether, *command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                pass_fds=(there.fileno(),),
                start_new_session=True,  # Ctrl-C is for the one who started it
            )
        return process, here

    def _look_if_serving(self) -> None:
        with suppress(BlockingIOError):
            if self._channel.recv(1):
                self.serves = self.has_served = True
                self._since_s = time.monotonic()
                logger.info("worker %d (process %d) serves", self.number, self._process.pid)

    def _ended(self) -> None:
        now_s = time.monotonic()
        if self.serves and now_s - self._since_s >= LONGEST_PAUSE_S:
            self._pause_s = FIRST_PAUSE_S
        logger.warning(
            "worker %d (process %d) ended %s; another takes its place in %g s",
            self.number,
            self._process.pid,
            manner(self._process.returncode),
            self._pause_s,
        )
        forget_gauges(self._metrics, self.number)
        self._channel.close()
        self.serves, self._again_s = False, now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
