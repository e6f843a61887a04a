"""What is counted of a closed loop: answers that come within a window of time, after a warm-up."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import record


@dataclass
class Counted:
    """Seconds of each answer that came within the window, and how long that was; failures are those of all time.

    `cpu_s` is what the asking process itself spent meanwhile, on all its threads.
    """

    window_s: float
    latencies_s: list[float] = field(default_factory=list)
    failures: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: "Counted") -> "Counted":
        """Another window of the same load."""
        return Counted(self.window_s + other.window_s, *self._joined(other))

    def __or__(self, other: "Counted") -> "Counted":
        """Another loop in the same window."""
        return Counted(self.window_s, *self._joined(other))

    def _joined(self, other: "Counted") -> tuple[list[float], int, float]:
        latencies_s = self.latencies_s + other.latencies_s
        return latencies_s, self.failures + other.failures, self.cpu_s + other.cpu_s

    @property
    def requests_per_s(self) -> float:
        return round(len(self.latencies_s) / self.window_s, 1)

    def ms(self) -> dict[str, float]:
        """Mean and percentiles; none without a single answer."""
        return record.percentiles(self.latencies_s) if self.latencies_s else {}

    def summary(self) -> dict[str, object]:
        """As records have it."""
        return {
            "requests": len(self.latencies_s),
            "failures": self.failures,
            "requests_per_s": self.requests_per_s,
            "ms": self.ms(),
            "asker_cpu_ms": round(self.cpu_s * 1e3 / max(len(self.latencies_s), 1), 3),
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


def read(path: Path) -> Counted:
    """What `write` wrote."""
    return Counted(**json.loads(path.read_text()))


class Window:
    """Opens `warmup_s` from now, for `seconds`. The load is there before and ends after: neither end is half empty."""

    def __init__(self, warmup_s: float, seconds: float) -> None:
        self._opens_s = time.perf_counter() + warmup_s
        self._closes_s = self._opens_s + seconds
        self._cpu_s: float | None = None
        self.counted = Counted(seconds)

    def is_over(self) -> bool:
        return time.perf_counter() >= self._closes_s

    def answered(self, asked_s: float) -> None:
        """An answer came just now, to what was asked at `asked_s` of `time.perf_counter`."""
        now_s = time.perf_counter()
        if self._opens_s <= now_s < self._closes_s:
            cpu_s = time.process_time()
            if self._cpu_s is None:
                self._cpu_s = cpu_s
            self.counted.cpu_s = cpu_s - self._cpu_s
            self.counted.latencies_s.append(now_s - asked_s)

    def failed(self) -> None:
        self.counted.failures += 1
