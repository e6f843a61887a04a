"""`tegrastats` as a child process, read line by line."""

import os
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from clients.telemetry.sample import Sample
from clients.telemetry.tegrastats import TelemetryError, sample_from_line
from clients.telemetry.throttling import alerts, overcurrent_events

SILENCE_S = 10.0
"""Beyond its interval: a tegrastats that writes no sample for so long has come to a halt, whatever else it writes."""
GRACE_S = 2.0
CHUNK, LONGEST_LINE = 2**14, 2**13
COMPLAINTS = 3
"""Lines kept of what is no sample, for the error that tells them."""
LONGEST_COMPLAINT = 120


class TegrastatsSource:
    """A tegrastats that runs from the first sample that is asked for, until `close`.

    It ends with this process, whatever happens to it: nobody reads it then, and its next line ends it (SIGPIPE).
    """

    name = "tegrastats"

    def __init__(
        self, program: str = "tegrastats", interval_s: float = 1.0, root: Path = Path("/"), silence_s: float = SILENCE_S
    ) -> None:
        self._command = [program, "--interval", str(round(interval_s * 1000))]
        self._root, self._patience_s = root, interval_s + silence_s
        self._process: subprocess.Popen[bytes] | None = None
        self._patient_until_s = 0.0
        self._complaints: deque[str] = deque(maxlen=COMPLAINTS)
        self._closed = False
        self._lock = threading.Lock()

    def samples(self) -> Iterator[Sample]:
        """Sample after sample, as they come; ends after `close`, which another thread may call.

        Raises:
            TelemetryError: it cannot be started, ends by itself, or falls silent.
        """
        process = self._started()
        if process is None:
            return
        try:
            self._be_patient()
            for line in self._lines(process):
                try:
                    sample = sample_from_line(line, time.time(), alerts(self._root), overcurrent_events(self._root))
                except TelemetryError:
                    self._complaints.append(line.strip()[:LONGEST_COMPLAINT])
                else:
                    yield sample
                    self._be_patient()
        finally:
            _end(process)
            if process.stdout is not None:
                process.stdout.close()
        if not self._closed:
            raise TelemetryError(f"{self._command[0]} ended with status {process.returncode}: {self._told()}")

    def close(self) -> None:
        """End it, and wait for that."""
        with self._lock:
            self._closed = True
        if self._process is not None:
            _end(self._process)

    def _be_patient(self) -> None:
        self._patient_until_s = time.monotonic() + self._patience_s

    def _told(self) -> str:
        return " / ".join(self._complaints) or "it wrote no reason"

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._closed:
                return None
            try:
                self._process = subprocess.Popen(  # noqa: S603  # no shell, and arguments of our own
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the program that reads it
                )
            except OSError as exc:
                raise TelemetryError(f"cannot start {self._command[0]}: {exc.strerror or exc}") from exc
            return self._process

    def _lines(self, process: "subprocess.Popen[bytes]") -> Iterator[str]:
        """What it writes, line by line, until it ends."""
        if process.stdout is None:
            return
        descriptor = process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        rest, chunk = b"", b"?"
        while chunk:
            left_s = self._patient_until_s - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                told = f"no sample for {self._patience_s:.0f} s: {self._told()}"
                raise TelemetryError(f"{self._command[0]} has written {told}")
            chunk = os.read(descriptor, CHUNK)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
            rest = rest[-LONGEST_LINE:]
        if rest:
            yield rest.decode(errors="replace")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate it if it runs, and wait; whoever reads it sees its end."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
