"""The limit on requests in work at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vision.errors import Overloaded

RETRY_AFTER_S = 1.0


class Permits:
    """Taken before any work, given back when all of it has ended, however. For one event loop: it needs no lock."""

    def __init__(self, limit: int, left: Callable[[], int] = lambda: 0) -> None:
        """`left` tells how much work there is that nobody waits for any more: it has a permit each until it ends."""
        self.limit = limit
        self._left = left
        self._held = 0

    @property
    def taken(self) -> int:
        return self._held + self._left()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a permit for the length of the block.

        Raises:
            Overloaded: at once, when all are taken: whoever waits here would wait longer than a caller who comes back.
        """
        if self.taken >= self.limit:
            raise Overloaded(
                f"all {self.limit} permits are taken; send the request again after {RETRY_AFTER_S:g} s,"
                " or give the gateway more with GATEWAY_PERMITS",
                retry_after_s=RETRY_AFTER_S,
            )
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
