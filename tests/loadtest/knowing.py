"""Known servers beside a test."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np

from tests.loadtest.known_truth import Times
from tests.local_triton import ROOT


@dataclass(frozen=True)
class KnownServer:
    """A process of tests/loadtest/known_server.py."""

    url: str
    process: subprocess.Popen[str]

    def log(self) -> dict[str, Times]:
        """Columns `arrived_s`, `due_s`, `ended_s` and `failed`, one value a request, by arrival."""
        told = httpx.get(f"{self.url}/known/log").json()
        told.pop("stall")
        order = np.argsort(told["arrived_s"], kind="stable")
        return {name: np.array(values, np.float64)[order] for name, values in told.items()}

    def stall(self) -> tuple[float, float]:
        """When the one there was began (`time.monotonic`), and its seconds."""
        begin_s, seconds = httpx.get(f"{self.url}/known/log").json()["stall"]
        return begin_s, seconds

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics").text

    def forget(self) -> None:
        httpx.delete(f"{self.url}/known/log").raise_for_status()


@contextmanager
def known_server(*arguments: str) -> Iterator[KnownServer]:
    """One with these options, on a free port."""
    command = [sys.executable, "-m", "tests.loadtest.known_server", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield KnownServer(process.stdout.readline().strip(), process)
        finally:
            process.terminate()
