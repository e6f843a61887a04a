"""What `/metrics` shows: the metrics of this process or, where several serve together, the sum of all of them.

Those of several are in files that each writes and any can read (prometheus_client's multiprocess mode, on when
`PROMETHEUS_MULTIPROC_DIR` is set, which `workers` does). Counters stay when their process dies, gauges do not.
"""

import asyncio
import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, values
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "jetserve_metrics_"
SHM = Path("/dev/shm")  # noqa: S108 - memory: files that are written with every request would wear out a card
REFRESH_S = 1.0


class Exposition:
    """The registry of one gateway, so that two fit into one process, and its text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._folder = os.environ.get(FOLDER)
        self._read: list[tuple[Gauge, Callable[[], float]]] = []
        self._tables: list[tuple[Gauge, str, Callable[[], Mapping[str, float]], set[str]]] = []
        self._known: dict[str, Callable[[], Set[str]]] = {}

    def gauge(
        self, name: str, meaning: str, value: Callable[[], float], together: Literal["sum", "min"] = "sum"
    ) -> None:
        """A gauge that is read from `value` when it is asked for; what several processes have is put `together`."""
        gauge = self.counted(name, meaning, together)
        if self._folder is None:
            gauge.set_function(value)
        else:  # the others cannot call it: they see what was written last
            self._read.append((gauge, value))
            gauge.set(value())

    def counted(self, name: str, meaning: str, together: Literal["sum", "min"] = "sum") -> Gauge:
        """A gauge that is told of every change."""
        return Gauge(name, meaning, registry=self.registry, multiprocess_mode=f"live{together}")  # type: ignore[arg-type]

    def table(
        self,
        name: str,
        meaning: str,
        label: str,
        values: Callable[[], Mapping[str, float]],
        together: Literal["sum", "min"] = "sum",
    ) -> None:
        """A gauge for each value of `label`, read from `values` when it is asked for; NaN once it is not among them."""
        gauge = Gauge(name, meaning, [label], registry=self.registry, multiprocess_mode=f"live{together}")  # type: ignore[arg-type]
        self._tables.append((gauge, label, values, set()))

    def known(self, label: str, values: Callable[[], Set[str]]) -> None:
        """Show, of series that have this label, only those whose value is among `values` when it is asked."""
        self._known[label] = values

    def forget(self, metric: Counter | Gauge, *labels: str) -> None:
        """Keep a series no more whose label is not `known` any more; files of several processes keep it, unseen."""
        if self._folder is None:
            metric.remove(*labels)

    async def follow(self) -> None:
        """Write down for the other processes what the gauges are, again and again; nothing where there are none."""
        while self._folder is not None:
            self._refresh()
            await asyncio.sleep(REFRESH_S)

    async def shown(self) -> bytes:
        """The same as `text`; what takes long, with many workers and models, in a thread."""
        if self._folder is None:
            return self.text()
        self._refresh()
        return await asyncio.to_thread(_of_all, self._folder, self._now_known())

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        self._refresh()
        return generate_latest(self.registry) if self._folder is None else _of_all(self._folder, self._now_known())

    def _now_known(self) -> dict[str, Set[str]]:
        return {label: values() for label, values in self._known.items()}

    def _refresh(self) -> None:
        for gauge, value in self._read:
            gauge.set(value())
        for gauge, label, table, seen in self._tables:
            now = table()
            seen.update(now)
            for each in seen:
                gauge.labels(each).set(now.get(each, math.nan))
            if label in self._known:
                for each in seen - now.keys():
                    self.forget(gauge, each)
                    seen.discard(each)


class _Together(Collector):
    """The metrics of all processes, without series whose label has a value that is not among those `known`."""

    def __init__(self, folder: str, known: Mapping[str, Set[str]]) -> None:
        self._folder, self._known = folder, known

    def collect(self) -> Iterator[Metric]:
        for metric in MultiProcessCollector(None, self._folder).collect():  # type: ignore[no-untyped-call]
            metric.samples = [sample for sample in metric.samples if self._shows(sample.labels)]
            yield metric

    def _shows(self, labels: Mapping[str, str]) -> bool:
        return all(labels[label] in values for label, values in self._known.items() if label in labels)


def _of_all(folder: str, known: Mapping[str, Set[str]]) -> bytes:
    together = CollectorRegistry()
    together.register(_Together(folder, known))
    return generate_latest(together)


def count_as(worker: int) -> None:
    """Count for worker number `worker` from now on, going on from where the last process of that number ended.

    By its process id, as prometheus_client has it, each process that ever lived would leave a file that all read.
    """
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def forget_gauges(folder: Path, worker: int) -> None:
    """Show no more what worker number `worker`, which has ended, had at that moment."""
    mark_process_dead(worker, str(folder))  # type: ignore[no-untyped-call]


@contextmanager
def metrics_folder(within: Path = SHM) -> Iterator[Path]:
    """A folder for the length of the block; those of processes that were killed are removed first."""
    _sweep(within)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within if within.is_dir() else None))
        lock = _locked(folder)
        if lock is not None and os.fstat(lock).st_nlink:
            break  # else someone who sweeps was quicker
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(within: Path) -> None:
    for folder in within.glob(f"{PREFIX}*"):
        if (lock := _locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock until its process ends; None where another process or user has it."""
    lock = None
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock
    if lock is not None:
        os.close(lock)
    return None
