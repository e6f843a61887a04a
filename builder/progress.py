"""What a build tells while it runs: a bar for the step under way, one line when it is done, everything in a log."""

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

INDENT = 10
OUR_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 ")
"""How each line of a log begins that the builder itself wrote."""
Say = Callable[[str, str], None]
"""Told of a step: its name, and what it found."""


def say(step: str, text: str) -> None:
    """One line on standard output, in the form of every command."""
    show(f"{line_of(step, text, _columns())}\n")


def show(text: str) -> None:
    """Write to standard output, and be content where nobody reads on (`… | head -1`)."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def line_of(step: str, text: str, columns: int | None) -> str:
    """Folded to so many columns with what follows below the text; None does not fold. Paths are not broken."""
    line = f"{step:<{INDENT}}{text}"
    if columns is None or len(line) <= columns or columns <= 2 * INDENT:
        return line
    folded = textwrap.wrap(text, columns - INDENT, break_long_words=False, break_on_hyphens=False)
    return f"{step:<{INDENT}}" + f"\n{' ' * INDENT}".join(folded)


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Log:
    """A file that is appended to as things happen; the frameworks' standard error goes there too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, text: str) -> None:
        """Make its folder, and write the first line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.write(text)

    def write_if_possible(self, text: str) -> None:
        """For what is told after a failure, which may have been the log's own."""
        with suppress(OSError):
            self.write(text)

    def write(self, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now} {text}\n")


class Step:
    """One step under way. Its lines are said when it ends, below where its bar was."""

    def __init__(self, name: str, log: Log | None, bars: Bars | None) -> None:
        self.name = name
        self.lines: list[tuple[str, str]] = []
        self.log = log
        self._bars = bars
        self._task: TaskID | None = None if bars is None else bars.add_task(name, total=None, text="")
        self._done = 0

    def total(self, number: int) -> None:
        """So many things are to be done."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, total=number)

    def advance(self, text: str = "") -> None:
        """One more is done; `text` names it."""
        self.reached(self._done + 1, None, text)

    def reached(self, done: int, total: int | None, text: str = "") -> None:
        """So much is done; None leaves the total."""
        self._done = done
        self._write(f"{done}{'' if total is None else f' of {total}'} {text}")
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, text=text)
            if total is not None:
                self._bars.update(self._task, total=total)

    def note(self, text: str) -> None:
        """For the person who builds: something taken for granted, or worth knowing."""
        self._write(f"note: {text}")
        self.lines.append(("", f"note: {text}"))

    def done(self, text: str) -> None:
        """What the step found. A step may have several such lines; most have one."""
        self._write(text)
        self.lines.append((self.name, text))

    def _write(self, text: str) -> None:
        if self.log is not None:
            self.log.write(f"{self.name}: {text}")


class Progress:
    """The steps of one build, in the order in which they are begun."""

    def __init__(self, say: Say = say, log: Log | None = None, terminal: Console | None = None) -> None:
        """`say` takes the lines; bars are drawn on `terminal`, None draws none."""
        self.say = say
        self.log = log
        self.terminal = terminal
        self.current = ""
        """The step that is under way, or was last."""
        self.seconds: dict[str, float] = {}
        """How long each step took."""

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Begin a step; it ends with the block, and its lines are said however it ends."""
        self.current = name
        begun = time.monotonic()
        bars = None if self.terminal is None else _bars(self.terminal)
        step = Step(name, self.log, bars)
        if self.log is not None:
            self.log.write(f"{name}: begun")
        try:
            with bars or nullcontext():
                yield step
        finally:
            took = time.monotonic() - begun
            self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 3)
            if self.log is not None:
                self.log.write(f"{name}: ended after {took:.1f} s")
            for line in step.lines:
                self.say(*line)


class _Length(ProgressColumn):
    """A bar and a count where the number of things is known; where it is not, something that turns."""

    max_refresh = None

    def __init__(self) -> None:
        super().__init__()
        self._bar, self._count, self._turning = BarColumn(bar_width=30), MofNCompleteColumn(), SpinnerColumn()

    def render(self, task: Task) -> RenderableType:
        if task.total is None:
            return self._turning.render(task)
        row = Table.grid(padding=(0, 1))
        row.add_row(self._bar.render(task), self._count.render(task))
        return row


def terminal_if_any() -> Console | None:
    """Where bars can be drawn: standard error, if a person looks at it."""
    return Console(stderr=True) if sys.stderr.isatty() else None


def _bars(terminal: Console) -> Bars:
    return Bars(
        TextColumn("{task.description:<10}"),
        _Length(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        console=terminal,
        transient=True,  # the step's one line takes its place
    )
