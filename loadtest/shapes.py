"""The timetable as Locust's shape: how many users it starts, and when the test is over."""

import time

from locust import LoadTestShape, User

from loadtest.users.session import Session

ALL_AT_ONCE = 10_000.0
"""Users a second."""
PATIENCE_S = 2.0
"""Beyond the timeout of the last requests, for processes to say that they have been answered."""


class ByTimetable(LoadTestShape):
    """All users there will ever be, from the beginning: those whose turn it is not wait."""

    abstract = True  # taken where there is a timetable only

    def __init__(self, session: Session, kind: type[User]) -> None:
        super().__init__()
        self._session, self._kind = session, kind

    def tick(self) -> tuple[int, float, list[type[User]]] | None:
        self._session.look()
        end_s = None if self._session.options.stays else self._session.timetable.end_s
        if end_s is not None and time.monotonic() >= end_s:
            waits_s = self._session.options.timeout + PATIENCE_S
            if len(self._session.idle) >= self._session.workers or time.monotonic() > end_s + waits_s:
                return None
        return max(self._session.most_users, self._session.workers), ALL_AT_ONCE, [self._kind]
