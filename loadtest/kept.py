"""A generator that is kept from one run to the next: most of what a short run takes is starting and ending Locust.

Users, connections and prepared photos stay; each run has a timetable, a warm-up and samples of its own.
"""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from clients.headers import Headers
from loadtest.generator import Generator
from loadtest.plan import Plan
from loadtest.samples import SampleReader
from loadtest.scratch import scratch
from loadtest.timetable import Timetable


class KeptGenerator:
    """In a `with`, beside records in `folder`. Of one process: nobody has to wait for the slowest of several."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._generator: Generator | None = None
        self._asked: tuple[Plan, Headers] | None = None

    def begin(self, plan: Plan, headers: Headers, first: Timetable) -> tuple[Generator, SampleReader]:
        """One that does what `first` says, and what comes of it; started where there is none, or one for another plan
        or other headers, as of a token that was renewed.

        Raises:
            OSError: its samples cannot be written.
        """
        if self._generator is None or self._generator.status is not None or (plan, headers) != self._asked:
            self.drop()
            self._folder.mkdir(parents=True, exist_ok=True)
            samples = self._stack.enter_context(scratch(self._folder))
            self._generator, self._asked = Generator(plan, samples, first, headers, stays=True), (plan, headers)
            self._stack.callback(self._generator.stop)
            return self._generator, SampleReader(samples)
        reader = SampleReader(self._generator.folder, news=True)
        self._generator.change(first)
        return self._generator, reader

    def drop(self) -> None:
        """End it: the next run begins with another. After a run that went wrong, or where the server is another one."""
        self._stack.close()
        self._generator = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
