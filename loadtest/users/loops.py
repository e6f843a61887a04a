"""How users ask: again when they are answered, or by the clock."""

import time

import gevent
from gevent.pool import Pool

from loadtest.arrivals import due_times
from loadtest.timetable import Entry, share
from loadtest.users.alarm import Alarm
from loadtest.users.doors import Door
from loadtest.users.session import Session

LOOK_S = 0.1
"""How long nobody waits without looking at what the timetable says now."""
SHORT_S = 0.01
PAUSE_S = 0.05
"""Of a user after a failure that came at once: a server that is gone shall not be asked without end."""


def waits(session: Session, number: int) -> bool:
    """Whether it is not the turn of that user of a process, which is said after a while; they come by the timetable."""
    now_s = time.monotonic()
    if not session.is_planned:
        return False
    entry = entry_now(session, now_s)
    if entry is not None and number < share(entry.users or 0, session.worker, session.workers):
        return False
    change_s = session.timetable.next_change_s(now_s)
    gevent.sleep(LOOK_S if change_s is None else min(LOOK_S, change_s - now_s))
    return True


def ask_again(session: Session, door: Door) -> None:
    """One request of a user, due when it has been answered before."""
    began_s = time.monotonic()
    if not session.ask(door, began_s) and time.monotonic() - began_s < PAUSE_S:
        gevent.sleep(PAUSE_S)


def open_loop(session: Session, door: Door) -> None:
    """Ask when requests are due, until the timetable ends; never waits for an answer.

    Entries follow one another, also those that ended while this process stood still: theirs are sent late.
    """
    alarm = Alarm()
    arrivals = _Arrivals(session, door, alarm)
    number = 0
    session.sending += 1
    try:
        while True:
            entries = session.timetable.entries
            if number < len(entries) and entries[number].begin_s <= time.monotonic():
                arrivals.of_entry(number)
                number += 1
            elif session.timetable.is_over(time.monotonic()):
                break
            else:
                gevent.sleep(SHORT_S)
        arrivals.pool.join()
    finally:  # what is under way is counted as unanswered
        session.sending -= 1
        arrivals.pool.kill()
        alarm.close()


class _Arrivals:
    """Sends each request when it is due."""

    def __init__(self, session: Session, door: Door, alarm: Alarm) -> None:
        self._session, self._door, self._alarm = session, door, alarm
        self._room = max(1, share(session.options.max_in_flight, session.worker, session.workers))
        self._began_s = time.monotonic()
        self.pool = Pool()

    def of_entry(self, number: int) -> None:
        """All requests of one entry of the timetable."""
        session = self._session
        options, entry = session.options, session.timetable.entries[number]
        if entry.rate_per_s is None:
            return
        times = due_times(
            options.arrivals, entry.begin_s, entry.rate_per_s, session.worker, session.workers, (options.seed, number)
        )
        for due_s in times:
            if entry.end_s is None and due_s < self._began_s:
                continue  # a warm-up that had begun before this process did
            if not self._waited(due_s, number):
                return
            if len(self.pool) < self._room and time.monotonic() - due_s < options.timeout:
                self.pool.spawn(session.ask, self._door, due_s)
                gevent.sleep(0)  # it is sent before the next one, and answers are taken when there are some
            else:
                session.not_sent(due_s)

    def _waited(self, due_s: float, number: int) -> bool:
        """Until `due_s`; False where the entry ends before."""
        while True:
            entries = self._session.timetable.entries
            entry = entries[number] if number < len(entries) else None
            if entry is None or (entry.end_s is not None and due_s >= entry.end_s):
                return False
            now_s = time.monotonic()
            if due_s <= now_s:
                return True
            self._alarm.wait(min(due_s, now_s + LOOK_S))


def entry_now(session: Session, now_s: float) -> Entry | None:
    """What holds."""
    number = session.timetable.at(now_s)
    return None if number is None else session.timetable.entries[number]
