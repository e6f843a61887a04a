"""A load of photos, for Locust: with its web page, `--headless`, or `--processes N`.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 --headless -u 8 -t 30s
    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 --headless --stages 50/s:30s

`locust -f loadtest/locustfile.py --help` tells the rest; `python -m loadtest run` does more (docs/13-load-tests.md).
"""

import gc
import os
import signal
import sys
import time
from typing import Any

import gevent
import gevent.event
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from clients.headers import Headers
from clients.hiding import Hider
from loadtest.shapes import ByTimetable
from loadtest.users import loops, options
from loadtest.users.session import Session, headers_of
from vision.errors import JetserveError

LOOK_S = 0.1
IDLE = "jetserve-idle"
"""What a process tells the others' master when all that it has sent is answered."""

sessions: dict[Environment, Session] = {}
prepared = gevent.event.Event()


def session_of(environment: Environment) -> Session:
    """When there is one: Locust's master may start the users of a process that still prepares itself."""
    prepared.wait()
    return sessions[environment]


class ClosedLoop(User):
    """Asks again when it is answered, and has thought."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._session = session_of(environment)
        self._number = self._session.next_number()
        self._door = self._session.way.door(1)

    def wait_time(self) -> float:
        return float(self._session.options.think)

    @task
    def ask(self) -> None:
        if not loops.waits(self._session, self._number):
            loops.ask_again(self._session, self._door)


class OpenLoop(User):
    """All requests of a process, sent when they are due; one timetable after the other, over the same connections."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._session = session_of(environment)
        self._door = self._session.way.door(self._session.options.max_in_flight)

    @task
    def send(self) -> None:
        if not self._session.timetable.is_over(time.monotonic()):
            loops.open_loop(self._session, self._door)
        gevent.sleep(LOOK_S)


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    options.add(parser)


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    given = environment.parsed_options
    assert given is not None  # noqa: S101 - Locust's command line has been read
    headers: Headers = {}
    try:
        headers = headers_of(given)
        session = Session(environment, given, headers)
    except Exception as exc:  # noqa: BLE001 - Locust would log any, and have users wait for what is never prepared
        told = str(exc) if isinstance(exc, JetserveError | OSError) else f"{type(exc).__name__}: {exc}"
        sys.stderr.write(f"loadtest: {Hider(headers)(told)}\n")  # which becomes a part of the record
        sys.stderr.flush()
        os._exit(2)  # Locust would go on, or wait for its other processes
    sessions[environment] = session
    is_open = given.open_loop or "/s" in given.stages
    kind: type[User] = OpenLoop if is_open else ClosedLoop
    environment.user_classes[:] = [kind]
    if session.is_planned:
        environment.shape_class = ByTimetable(session, kind)
        gevent.signal_handler(signal.SIGTERM, _leave, environment)  # Locust itself heeds it only without a shape
    environment.stop_timeout = environment.stop_timeout or given.timeout  # who has asked is to be answered
    if isinstance(environment.runner, MasterRunner):
        environment.runner.register_message(IDLE, lambda msg, **_: session.idle.add(msg.data["worker"]))
    gc.collect()
    gc.freeze()  # what Locust has loaded stays: looking through it again would hold requests up for tens of ms
    gevent.spawn(_look, environment, session)
    prepared.set()


def _leave(environment: Environment) -> None:
    """At once: what is under way is unanswered."""
    environment.stop_timeout = 0
    if environment.runner is not None:
        environment.runner.quit()


@events.test_start.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    gevent.spawn(lambda: session_of(environment).begin())


@events.quit.add_listener
def _end(**_: Any) -> None:
    for session in sessions.values():
        session.end()


def _look(environment: Environment, session: Session) -> None:
    """Again and again: what the timetable says, and whether whoever started this is still there."""
    told = False
    while True:
        session.look()
        if session.options.ends_with_stdin and _is_alone():
            session.end()
            os._exit(3)
        if session.options.stays:
            session.tell_through()
        elif session.is_over and not told and not isinstance(environment.runner, MasterRunner):
            told = True
            session.end()
            _tell_idle(environment, session)
        gevent.sleep(LOOK_S)


def _tell_idle(environment: Environment, session: Session) -> None:
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.send_message(IDLE, {"worker": session.worker})
    else:
        session.idle.add(session.worker)


def _is_alone() -> bool:
    """Whether the other end of the standard input is closed: the process that held it has ended, however it did."""
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False
