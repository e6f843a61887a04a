"""What all users of one of Locust's processes share: the way to the server, what is asked, and the log of it."""

import itertools
import random
import time
from argparse import Namespace
from pathlib import Path

from gevent import GreenletExit
from locust.env import Environment
from locust.runners import WorkerRunner

from clients.headers import Headers, headers_from_texts
from clients.hiding import Hider
from loadtest import images, timetable
from loadtest.headers import taken_over, with_secrets
from loadtest.load import loads_from_text
from loadtest.models import models_from_text
from loadtest.samples import NOT_SENT, OK, SampleLog, write_images
from loadtest.template import template_from_file
from loadtest.timetable import Timetable
from loadtest.users.doors import Door, Way
from loadtest.users.grpc import GrpcWay
from loadtest.users.http import HttpWay
from loadtest.users.template import TemplateWay
from loadtest.users.triton import TritonWay
from vision.errors import InvalidArgument, ModelNotReady

UNANSWERED = "unanswered"
NEVER_S = float("nan")


class Failure(Exception):  # noqa: N818 - what Locust shows is its name, and the kind
    """What Locust counts a failure by; its text is the kind."""


class Session:
    """Made once a process, when it knows its place among the others."""

    def __init__(self, environment: Environment, options: Namespace, headers: Headers) -> None:
        self.environment, self.options = environment, options
        self._hidden = Hider(headers)
        self.way = _way(options, headers)
        self.workers = max(1, options.processes or (options.expect_workers if options.master else 1) or 1)
        self.timetable = Timetable()
        self._models, self._weights = self._chosen_models()
        self._images = images.images_from_text(options.images, options.seed)
        self._random = random.Random(options.seed)  # noqa: S311 - to be the same again
        self.way.prepare(self._models, self._images)
        self.in_flight = 0
        self.sending = 0
        """Loops that send by the clock: one that stood still has requests to send though the timetable is over."""
        self._numbers = itertools.count()
        self.idle: set[int] = set()
        """Numbers of the processes, as far as this one was told, that have nothing to do any more."""
        self._log = SampleLog(Path(options.samples)) if options.samples else None
        if options.samples:
            write_images(Path(options.samples), images.described(self._images))
        self._timetable = Path(options.timetable) if options.timetable else None
        self._changed_ns = 0
        self._through_s: float | None = None

    def next_number(self) -> int:
        """A new user's."""
        return next(self._numbers)

    def ask(self, door: Door, due_s: float) -> bool:
        """One request, which was due at `due_s`; it is counted whatever comes of it. Whether it was answered well."""
        [model] = self._random.choices(self._models, self._weights)
        image = self._random.choice(self._images)
        self.in_flight += 1
        sent_s = time.monotonic()
        try:
            ended_s, answer = door.ask(model, image)
        except GreenletExit:
            self.count(due_s, sent_s, NEVER_S, model, UNANSWERED)
            raise
        finally:
            self.in_flight -= 1
        detail = self._hidden(answer.detail) if answer.detail else ""
        if self._log is not None:
            self._log.add(due_s, sent_s, ended_s, model, answer.outcome, answer.images, answer.phases_ms, detail)
        self._tell(model, ended_s - due_s, answer.outcome, detail, answer.length)
        return answer.outcome == OK

    def not_sent(self, due_s: float) -> None:
        """A request for which there was no room."""
        self.count(due_s, NEVER_S, NEVER_S, self._models[0], NOT_SENT)

    def count(self, due_s: float, sent_s: float, ended_s: float, model: str, outcome: str) -> None:
        """A request that has no answer."""
        if self._log is not None:
            self._log.add(due_s, sent_s, ended_s, model, outcome)
        self._tell(model, time.monotonic() - due_s, outcome, "", 0)

    def look(self) -> None:
        """Read the timetable anew, where it is a file; and bring the log to the disk."""
        if self._log is not None:
            self._log.flush()
        if (path := self._timetable) is not None and (changed_ns := path.stat().st_mtime_ns) != self._changed_ns:
            self.timetable, self._changed_ns = timetable.read(path), changed_ns

    @property
    def worker(self) -> int:
        """The number of this process among those that send; Locust tells it when the test begins."""
        runner = self.environment.runner
        return max(0, runner.worker_index) if isinstance(runner, WorkerRunner) else 0

    def begin(self) -> None:
        """The load begins now, where nobody else says when."""
        self._random.seed(f"{self.options.seed} {self.worker}")
        if self._timetable is None and self.options.stages:
            loads = loads_from_text(self.options.stages)
            self.timetable = timetable.timetable_from_loads(loads, time.monotonic())

    @property
    def most_users(self) -> int:
        """Of any time."""
        loads = loads_from_text(self.options.stages) if self.options.stages else ()
        return max(self.timetable.most_users(), *(load.users or 0 for load in loads), 0)

    @property
    def is_planned(self) -> bool:
        """Whether a timetable says who asks when, not Locust."""
        return bool(self.options.timetable or self.options.stages)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be sent, and nobody waits for an answer."""
        return not self.in_flight and not self.sending and self.timetable.is_over(time.monotonic())

    def tell_through(self) -> None:
        """To who keeps this process: that the timetable is over and answered, where it is, once."""
        end_s = self.timetable.end_s
        if self.is_over and end_s is not None and end_s != self._through_s:
            self.end()
            timetable.tell_through(Path(self.options.samples), end_s)
            self._through_s = end_s

    def end(self) -> None:
        """All is counted."""
        if self._log is not None:
            self._log.flush()

    def _tell(self, model: str, latency_s: float, outcome: str, detail: str, length: int) -> None:
        # Locust keeps every kind of failure for ever: details, which differ, would fill its memory.
        self.environment.events.request.fire(
            request_type=self.options.transport,
            name=model,
            response_time=latency_s * 1e3,
            response_length=length,
            exception=None if outcome == OK else Failure(outcome),
            context={"detail": detail},
        )

    def _chosen_models(self) -> tuple[list[str], list[float]]:
        given = models_from_text(self.options.model)
        if given and self.options.transport == "template":
            return list(given), list(given.values())
        ready = self.way.models()
        if missing := [name for name in given if name not in ready]:
            raise ModelNotReady(
                f"{', '.join(missing)} cannot be asked at {self.options.host}; ready are: {', '.join(ready) or 'none'}"
            )
        if not ready:
            raise ModelNotReady(
                f"no model is ready at {self.options.host}; load one with `python -m clients load NAME`"
            )
        weights = given or dict.fromkeys(ready, 1.0)
        return list(weights), list(weights.values())


def headers_of(options: Namespace) -> Headers:
    """Those that who started this hands over, or else those of the command line.

    Raises:
        InvalidArgument: a secret is not where its header says.
    """
    if options.headers_from >= 0:
        return taken_over(options.headers_from)
    return with_secrets(headers_from_texts(options.header))


def _way(options: Namespace, headers: Headers) -> Way:
    host: str = options.host or ""
    if not host:
        raise InvalidArgument("say whom to ask: --host http://127.0.0.1:8080")
    if options.transport == "grpc":
        return GrpcWay(host, options.timeout, headers)
    if options.transport == "triton":
        if headers:
            raise InvalidArgument("Triton itself is asked without headers; they go with http, grpc and template")
        return TritonWay(host, options.timeout)
    if options.transport == "template":
        if not options.template:
            raise InvalidArgument("--transport template needs --template FILE, or the name of one that comes along")
        return TemplateWay(host, options.timeout, template_from_file(Path(options.template)), headers)
    return HttpWay(host, options.timeout, headers)
