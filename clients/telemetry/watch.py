"""Telemetry in the background: each sample is handed on, and a source that fails harms nobody."""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from clients.telemetry import jtop_source
from clients.telemetry.sample import Sample
from clients.telemetry.tegrastats import TelemetryError
from clients.telemetry.tegrastats_source import TegrastatsSource

logger = logging.getLogger(__name__)

PAUSE_S = 30.0
"""Before a source that failed is opened again."""


class Source(Protocol):
    """Where samples come from."""

    @property
    def name(self) -> str: ...
    def samples(self) -> Iterator[Sample]: ...
    def close(self) -> None: ...


def source_of_machine(interval_s: float = 1.0) -> Callable[[], Source] | None:
    """What opens the machine's source: jtop where it is installed and runs, else tegrastats; None where is neither."""
    if jtop_source.is_there():
        return lambda: jtop_source.JtopSource(interval_s)
    program = shutil.which("tegrastats")
    return None if program is None else lambda: TegrastatsSource(program, interval_s)


class Watch:
    """A thread that reads a source until `close`, opening it anew when it fails. The first failure is logged."""

    def __init__(
        self,
        opened: Callable[[], Source],
        on_sample: Callable[[Sample], None],
        on_lost: Callable[[], None] = lambda: None,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`on_sample` and `on_lost` are called in the thread; `on_lost` when no sample will come for a while."""
        self._opened, self._on_sample, self._on_lost, self._pause_s = opened, on_sample, on_lost, pause_s
        self._source: Source | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._complained = False
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, and wait until it has ended."""
        with self._lock:
            self._closing.set()
            source = self._source
        if source is not None:
            source.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                if self._closing.is_set():
                    return
                source = self._source = self._opened()
            try:
                for sample in source.samples():
                    self._on_sample(sample)
            except TelemetryError as exc:
                self._complain(source.name, str(exc))
            except Exception as exc:  # noqa: BLE001 - a thread that ended would leave its last figures standing
                self._complain(source.name, f"{type(exc).__name__}: {exc}")
            self._on_lost()
            self._closing.wait(self._pause_s)

    def _complain(self, name: str, reason: str) -> None:
        level = logging.DEBUG if self._complained else logging.WARNING
        self._complained = True
        logger.log(level, "no telemetry from %s: %s; tried again every %.0f s", name, reason, self._pause_s)
