"""Quantities over time, from several threads."""

import threading
import time
from collections import defaultdict

from loadtest.record import Series


class Collected:
    """Values by name; times are seconds since `began_s` (`time.monotonic`)."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._units: dict[str, str] = {}
        self._values: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(self, name: str, unit: str, value: float | None, at_s: float | None = None) -> None:
        """One value, of now where no time (`time.monotonic`) is given."""
        at_s = time.monotonic() if at_s is None else at_s
        with self._lock:
            self._units[name] = unit
            self._values[name].append((max(0.0, at_s - self._began_s), value))

    def series(self) -> list[Series]:
        with self._lock:
            return [
                Series(
                    name=name,
                    unit=self._units[name],
                    times_s=[round(at_s, 3) for at_s, _ in values],
                    values=[None if value is None else round(value, 4) for _, value in values],
                )
                for name, values in sorted(self._values.items())
            ]

    def between(self, name: str, begin_s: float, end_s: float) -> list[float]:
        """Values in that time, of the record."""
        with self._lock:
            values = list(self._values.get(name, ()))
        return [value for at_s, value in values if begin_s <= at_s < end_s and value is not None]
