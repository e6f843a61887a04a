"""What TensorRT says while it works: all into standard error; kept is what explains a failure or tells progress."""

from __future__ import annotations

import re
import sys
from collections import deque
from typing import Any

from builder.engine.telling import Telling

ERROR, WARNING, INFO = 1, 2, 3
"""`ILogger.Severity`: 0 is an internal error, 4 verbose."""
OUT_OF_MEMORY = re.compile(r"out ?of ?memory|insufficient memory|could not be allocated", re.IGNORECASE)
PARSED_NODE = re.compile(r"parsing node number|In node \d+", re.IGNORECASE)
LAYERS = re.compile(r"After final dead-layer removal: (\d+) layers")
COSTS = re.compile(r"Computing costs for (.*)")
KEPT = 12


class Hearing:
    """One job's log, and its progress, where there is no monitor for that: TensorRT before 10 says what it measures."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        self.errors: deque[str] = deque(maxlen=KEPT)
        self.lacked_memory = False
        self.monitored = False
        self._layers = 0
        self._measured = 0

    def hear(self, severity: int, text: str) -> None:
        """Called by TensorRT, from any of its threads; must not raise."""
        if severity <= INFO:
            sys.stderr.write("[TensorRT {}] {}\n".format("EEWI"[severity], text))
            sys.stderr.flush()
        if severity <= ERROR:
            self.errors.append(text)
        if severity <= WARNING and OUT_OF_MEMORY.search(text):
            self.lacked_memory = True
        if not self.monitored:
            self._measure(text)

    def _measure(self, text: str) -> None:
        layers, costs = LAYERS.search(text), COSTS.search(text)
        if layers:
            self._layers, self._measured = int(layers[1]), 0
        elif costs:
            self._measured += 1
            fraction = min(self._measured / self._layers, 0.99) if self._layers else None
            self.telling.progress(fraction, costs[1].strip() or "measuring")

    def parse_lines(self) -> list[str]:
        """Of the errors, those that say which node of the ONNX was read."""
        return [text for text in self.errors if PARSED_NODE.search(text)]

    def last_words(self) -> str:
        """The last errors, for a message."""
        return " | ".join(list(self.errors)[-3:]) or "TensorRT gave no reason"


def logger_for(trt: Any, hearing: Hearing) -> Any:
    """A TensorRT logger that this hears."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # TensorRT has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            hearing.hear(int(severity), msg)

    return Logger()


def monitor_for(trt: Any, hearing: Hearing) -> Any:
    """A progress monitor, or None where this TensorRT has none (before 10)."""
    if not hasattr(trt, "IProgressMonitor"):
        return None
    hearing.monitored = True

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # TensorRT has no types
        """Phases within phases, each with its steps; the outermost is the build."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, list[Any]] = {}  # name: parent, steps, steps done
            self.told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = [parent_phase, max(num_steps, 1), 0]

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.phases.setdefault(phase_name, [None, step + 1, 0])[2] = step + 1
            fraction = min(self._whole(), 0.99)
            if fraction > self.told:
                self.told = fraction
                hearing.telling.progress(round(fraction, 4), phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            parent = self.phases.pop(phase_name, [None])[0]
            if parent in self.phases:
                self.phases[parent][2] = min(self.phases[parent][2] + 1, self.phases[parent][1])

        def _whole(self) -> float:
            roots = [name for name, phase in self.phases.items() if phase[0] not in self.phases]
            return max((self._done(name) for name in roots), default=0.0)

        def _done(self, name: str) -> float:
            steps, done = float(self.phases[name][1]), float(self.phases[name][2])
            inner = [self._done(child) for child, phase in self.phases.items() if phase[0] == name]
            return min((done + max(inner, default=0.0)) / steps, 1.0)

    return Monitor()
