"""A bar that grows while photos are predicted."""

import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager


@contextmanager
def counted(photos: object, shown: bool) -> Iterator[Callable[[], None]]:
    """Something to call for each photo that is done; the bar stands on the standard error output."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # Above the bar goes what is written to the same terminal; results that go to a file or pipe must get there.
    shared = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=shared) as progress:
        task = progress.add_task("", total=len(photos) if isinstance(photos, Sized) else None)
        yield lambda: progress.advance(task)
