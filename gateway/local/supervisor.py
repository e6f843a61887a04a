"""The run itself: start both, wait until they answer, watch them, start again who ends by itself, end them."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console

from gateway.local.child import Child, manner
from gateway.local.commands import gateway_command, gateway_environment, triton_command
from gateway.local.greeting import greet
from gateway.local.ports import require_free
from gateway.local.probes import gateway_answers, photos_are_answered, triton_answers
from gateway.local.restarts import CALM_S, MOST_ENDS, Ends
from gateway.local.run_lock import run_lock
from gateway.local.settings import GATEWAY_PORTS, TRITON_PYTHON, LocalSettings, SettingsError
from vision.errors import JetserveError

READY_S = 300.0
"""Large models take their time to load; a line every REMIND_S says that it is still going on."""
REMIND_S = 10.0
SAY_S = 1.0
PROBE_S = 0.1
TRITON_GRACE_S = 15.0


class Ended(Exception):  # noqa: N818 - an event, and a fault only for who wanted it to run
    """A child ended by itself."""

    def __init__(self, child: Child, status: int) -> None:
        super().__init__(f"{child.name} ended {manner(status)}")
        self.child = child


class EndedTooOften(Exception):  # noqa: N818
    """A child ended by itself again and again."""

    def __init__(self, ended: Ended) -> None:
        soon = f"{MOST_ENDS} times in a row within {CALM_S:.0f} s of being ready"
        super().__init__(f"{ended}, {soon}, and is not started again")
        self.child = ended.child


class Stopped(Exception):  # noqa: N818 - what the user asked for
    """A signal asked for the end."""


class TookTooLong(Exception):  # noqa: N818
    """Something did not become ready; the text says what."""

    def __init__(self, text: str, child: Child) -> None:
        super().__init__(text)
        self.child = child


class Supervisor:
    """One local run, from the first process to the last."""

    def __init__(self, settings: LocalSettings, console: Console) -> None:
        self._settings, self._console = settings, console
        # Triton holds ports and shared memory: an orphan of it must be gone at once, its stubs follow by themselves.
        self._triton = Child("triton", settings.run_folder, TRITON_GRACE_S, when_orphaned=signal.SIGKILL)
        self._gateway = Child("gateway", settings.run_folder, settings.gateway_grace_s, when_orphaned=signal.SIGTERM)
        self._signals: list[int] = []

    def run(self) -> int:
        """Until a signal, or until one that ends by itself is not to be started again; the exit status comes back.

        Raises:
            SettingsError, AlreadyRunning
        """
        with run_lock(self._settings.run_folder, self._settings.address) as mark_ready, self._listening():
            self._check()
            try:
                self._bring_up(gateway_answers)
                greet(self._settings, self._console)
                self._keep_up(mark_ready)
            except Stopped:
                return 0
            except (Ended, EndedTooOften, TookTooLong) as exc:
                self._say(f"{exc}; the end of {exc.child.log}:\n{exc.child.last_lines()}")
                return 1
            except JetserveError as exc:
                self._say(f"the gateway does not list its models: {exc}. Logs: {self._settings.run_folder}")
                return 1
            finally:
                mark_ready(False)
                self._end()

    def _check(self) -> None:
        settings = self._settings
        if not TRITON_PYTHON.exists():
            raise SettingsError(f"{TRITON_PYTHON} is missing: run `make setup`")
        if not settings.repository.is_dir():
            raise SettingsError(f"the model repository {settings.repository} does not exist: import a model first")
        for child in (self._gateway, self._triton):
            require_free(*self._addresses(child))

    def _addresses(self, child: Child) -> tuple[str, Mapping[str, int]]:
        """The host and the ports where it is to listen."""
        ports = self._settings.ports
        ours = {name: port for name, port in ports.items() if (name in GATEWAY_PORTS) == (child is self._gateway)}
        return (self._settings.gateway_host if child is self._gateway else "127.0.0.1"), ours

    def _bring_up(self, gateway_is_ready: Callable[[LocalSettings], bool]) -> None:
        """Start who does not run, and wait until both answer."""
        if not self._triton.started:
            self._wait_for_ports(self._triton)
            self._triton.start(triton_command(self._settings), os.environ)
        if not self._gateway.started:
            self._wait_for_ports(self._gateway)
            self._gateway.start(gateway_command(), gateway_environment(self._settings))
        self._wait_for("Triton", self._triton, triton_answers)
        self._wait_for("the gateway", self._gateway, gateway_is_ready)

    def _keep_up(self, mark_ready: Callable[[bool], None]) -> NoReturn:
        """Start again who ends, for as long as it helps."""
        ends = Ends()
        mark_ready(True)
        while True:
            for child in (self._triton, self._gateway):
                ends.note_ready(child.name)
            try:
                self._watch()
            except Ended as ended:
                mark_ready(False)
                self._bring_back(ended, ends)
            mark_ready(True)
            self._say(f"ready again: {self._settings.address}")

    def _bring_back(self, ended: Ended, ends: Ends) -> None:
        """Until both answer, however many end meanwhile."""
        while True:
            if not ends.note_end(ended.child.name):
                raise EndedTooOften(ended)
            child = ended.child
            self._say(f"{ended} and is started again; the end of {child.log}:\n{child.last_lines()}")
            child.stop(hurry=lambda: True)
            try:
                return self._bring_up(photos_are_answered)
            except Ended as exc:
                ended = exc

    def _wait_for_ports(self, child: Child) -> None:
        """Until what a child that ended has left behind, a gateway's workers, say, has ended, too."""
        begin, said = time.monotonic(), False
        while True:
            try:
                return require_free(*self._addresses(child))
            except SettingsError as exc:
                taken = str(exc)
            self._raise_if_ended()
            waited_s = time.monotonic() - begin
            if waited_s > child.grace_s:
                raise TookTooLong(f"{child.name} cannot be started: {taken}", child)
            if waited_s > SAY_S and not said:
                said = True
                self._say(f"waiting to start {child.name} again: {taken}")
            time.sleep(PROBE_S)

    def _wait_for(self, what: str, child: Child, answers: Callable[[LocalSettings], bool]) -> None:
        begin = time.monotonic()
        say_s = begin
        while not answers(self._settings):
            self._raise_if_ended()
            now = time.monotonic()
            if now - begin > READY_S:
                raise TookTooLong(f"{what} was not ready after {READY_S:.0f} s", child)
            if now >= say_s:
                still = f"still waiting for {what}, {now - begin:.0f} s"
                self._say(still if say_s > begin else f"waiting for {what} (log: {child.log})")
                say_s = now + REMIND_S
            time.sleep(PROBE_S)
        self._raise_if_ended()

    def _watch(self) -> NoReturn:
        while True:
            self._raise_if_ended()
            time.sleep(PROBE_S)

    def _raise_if_ended(self) -> None:
        if self._signals:
            raise Stopped
        for child in (self._triton, self._gateway):
            if (status := child.exit_status) is not None:
                raise Ended(child, status)

    def _end(self) -> None:
        """The gateway first, so that what it has in work is still answered."""
        for child in (self._gateway, self._triton):
            child.stop(hurry=lambda: len(self._signals) > 1)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals are noted, not raised: the run ends between two steps. A second one hurries the end."""
        handled: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
