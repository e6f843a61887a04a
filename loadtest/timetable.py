"""Which load is due when: what tells the generator's processes what to do, in `time.monotonic` of this machine.

The one who runs them writes it as a file, and writes it anew to end a warm-up or the steps; they look at it again and
again. So a change is known to all of them before it holds.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from loadtest.load import Load

THROUGH = "through"
UNTIL_READ_S = 0.5
"""From writing a change to when it holds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A load from `begin_s` to `end_s`, or until further notice."""

    name: str
    users: int | None
    rate_per_s: float | None
    begin_s: float
    end_s: float | None

    def holds(self, now_s: float) -> bool:
        return self.begin_s <= now_s and (self.end_s is None or now_s < self.end_s)


@dataclass(frozen=True, slots=True)
class Timetable:
    """Entries in the order of their times."""

    entries: tuple[Entry, ...] = ()

    def at(self, now_s: float) -> int | None:
        """The number of the entry that holds."""
        return next((number for number, entry in enumerate(self.entries) if entry.holds(now_s)), None)

    def next_change_s(self, now_s: float) -> float | None:
        """When the next entry begins or this one ends; None where that is not known."""
        times_s = [time for entry in self.entries for time in (entry.begin_s, entry.end_s) if time is not None]
        return min((time for time in times_s if time > now_s), default=None)

    @property
    def end_s(self) -> float | None:
        """When no entry holds any more; None where that is not known."""
        ends_s = [entry.end_s for entry in self.entries]
        return None if not ends_s or None in ends_s else max(end_s for end_s in ends_s if end_s is not None)

    def is_over(self, now_s: float) -> bool:
        """Whether no entry holds now or later."""
        return (end_s := self.end_s) is not None and end_s <= now_s

    def most_users(self) -> int:
        return max((entry.users or 0 for entry in self.entries), default=0)

    def cut(self, now_s: float) -> "Timetable":
        """Ended now: what has not begun is left out."""
        begun = [entry for entry in self.entries if entry.begin_s < now_s]
        return Timetable(
            tuple(entry if entry.end_s and entry.end_s <= now_s else replace(entry, end_s=now_s) for entry in begun)
        )


def timetable_from_loads(loads: Sequence[Load], begin_s: float) -> Timetable:
    """One load after the other."""
    entries = []
    for load in loads:
        entries.append(Entry(load.label, load.users, load.rate_per_s, begin_s, begin_s + load.seconds))
        begin_s += load.seconds
    return Timetable(tuple(entries))


def read(path: Path) -> Timetable:
    return Timetable(tuple(Entry(**entry) for entry in json.loads(path.read_bytes())))


def write(path: Path, timetable: Timetable) -> None:
    """Whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps([asdict(entry) for entry in timetable.entries]))
    aside.replace(path)


def through(folder: Path) -> float | None:
    """When the timetable ended that a generator was through with last; None of none."""
    try:
        return float((folder / THROUGH).read_text())
    except FileNotFoundError:
        return None


def tell_through(folder: Path, end_s: float) -> None:
    """That all that a timetable asked for until then is answered, and written down."""
    aside = folder / f".{THROUGH}"
    aside.write_text(repr(end_s))
    aside.replace(folder / THROUGH)


def share(amount: int, worker: int, workers: int) -> int:
    """How many of `amount` are those of one of several processes."""
    return amount // workers + (worker < amount % workers)
