"""This machine and the processes of the test on it: CPU in cores, memory in bytes."""

import os
import time
from collections.abc import Callable, Iterable, Mapping

import psutil

from loadtest.sampling.collected import Collected

Processes = Callable[[], Iterable[psutil.Process]]


class Machine:
    """Looks at the machine and at groups of processes. `busiest` of a group is its process with the most CPU."""

    def __init__(self, collected: Collected, groups: Mapping[str, Processes]) -> None:
        self._collected, self._groups = collected, groups
        self._seen: dict[psutil.Process, tuple[float, float]] = {}
        """CPU seconds, and when they were read."""
        psutil.cpu_percent()

    def look(self) -> None:
        """One look."""
        add = self._collected.add
        add("machine.cpu", "cores", psutil.cpu_percent() / 100 * (os.cpu_count() or 1))
        add("machine.memory", "bytes", float(psutil.virtual_memory().used))
        for name, processes in self._groups.items():
            loads, memory = [], 0
            for process in processes():
                try:
                    loads.append(self._load(process))
                    memory += process.memory_info().rss
                except psutil.Error:  # it has ended
                    continue
            if loads:
                add(f"{name}.cpu", "cores", sum(loads))
                add(f"{name}.busiest", "cores", max(loads))
                add(f"{name}.memory", "bytes", float(memory))

    def _load(self, process: psutil.Process) -> float:
        """Cores since the last look; 0 at the first."""
        with process.oneshot():
            times, now_s = process.cpu_times(), time.monotonic()
        spent_s = times.user + times.system
        before = self._seen.get(process)
        self._seen[process] = spent_s, now_s
        return 0.0 if before is None else max(0.0, (spent_s - before[0]) / max(1e-3, now_s - before[1]))


class Listeners:
    """The processes that listen on a port of this machine, and their children; looked for again where they ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: list[psutil.Process] = []

    def __call__(self) -> list[psutil.Process]:
        if not self._known or not all(process.is_running() for process in self._known):
            self._known = self._found()
        return self._known

    def _found(self) -> list[psutil.Process]:
        try:
            pids = {
                connection.pid
                for connection in psutil.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == self._port and connection.pid
            }
            listening = [psutil.Process(pid) for pid in pids]
            return list({each for process in listening for each in (process, *process.children(recursive=True))})
        except psutil.Error:  # not ours to see
            return []
