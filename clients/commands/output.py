"""What commands say: results on the standard output, everything else on the standard error output."""

import csv
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from clients.results import Result
from clients.tables import show_result

FOUND = ("label", "label_id", "score", "x1", "y1", "x2", "y2")
"""Columns of CSV; a class has no box."""


class TerminalConsole(Console):
    """Rich ends the program itself, with 1, where nobody reads on."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Results:
    """Writes results in one form. `subject` is the name of the first column of CSV: what the results are of."""

    def __init__(self, form: str, subject: str) -> None:
        self._form = form
        self._subject = subject
        self._console = TerminalConsole()
        self._begun = False

    def write(self, subject: str, result: Result) -> None:
        if self._form == "jsonl":
            say(result.model_dump_json(exclude_none=True))
        elif self._form == "csv":
            self.write_rows([(subject, *row) for row in rows_of(result)])
        else:
            show_result(result, self._console)

    def write_rows(self, rows: Sequence[Sequence[object]]) -> None:
        """Rows of CSV, after a line of names."""
        if not self._begun:
            self._begun = True
            say_csv([(self._subject, *FOUND)])
        say_csv(rows)


def rows_of(result: Result) -> list[tuple[object, ...]]:
    """One for each object or class, best first, as in `FOUND`."""
    if result.detections is None:
        return [(item.label, item.label_id, item.score, "", "", "", "") for item in result.classes or ()]
    return [(item.label, item.label_id, item.score, *item.box.model_dump().values()) for item in result.detections]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def say_json(value: object) -> None:
    say(json.dumps(value, ensure_ascii=False))


def say_csv(rows: Sequence[Sequence[object]]) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


def note(line: str) -> None:
    """What is no result, and no failure."""
    sys.stdout.flush()
    sys.stderr.write(f"{line}\n")


def complain(line: str) -> None:
    note(f"python -m clients: {line}")


def failed(error: Exception, about: object = None) -> int:
    """Say it in one line; the status of a program that failed."""
    name = f"{about}: " if about is not None and not isinstance(error, OSError) else ""
    complain(f"{name}{error}")
    return 1
