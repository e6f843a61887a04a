"""The run itself: start both, wait until they answer, watch them, end them."""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console

from clients import GatewayClient
from gateway.local.child import Child
from gateway.local.greeting import greet
from gateway.local.ports import require_free
from gateway.local.run_lock import run_lock
from gateway.local.settings import GATEWAY_PORTS, LAUNCHER, TRITON_PYTHON, LocalSettings, SettingsError
from vision.errors import JetserveError, ModelNotReady

READY_S = 300.0
"""Large models take their time to load; a line every REMIND_S says that it is still going on."""
REMIND_S = 10.0
PROBE_S = 0.1
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TRITON_GRACE_S = 15.0


class Ended(Exception):  # noqa: N818 - an event, and a fault only for who wanted it to run
    """A child ended by itself."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended with status {child.exit_status}")
        self.child = child


class Stopped(Exception):  # noqa: N818 - what the user asked for
    """A signal asked for the end."""


class TookTooLong(Exception):  # noqa: N818
    """Something did not become ready."""

    def __init__(self, what: str, child: Child) -> None:
        super().__init__(f"{what} was not ready after {READY_S:.0f} s")
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
        """Until a signal or the end of either process; the exit status comes back.

        Raises:
            SettingsError, AlreadyRunning
        """
        with run_lock(self._settings.run_folder, self._settings.address) as mark_ready, self._listening():
            self._check()
            try:
                self._start()
                self._wait_for("Triton", self._triton, self._triton_answers)
                self._wait_for("the gateway", self._gateway, self._gateway_answers)
                greet(self._settings, self._console)
                mark_ready(True)
                self._watch()
            except Stopped:
                return 0
            except (Ended, TookTooLong) as exc:
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
        ours = {name: port for name, port in settings.ports.items() if name in GATEWAY_PORTS}
        require_free(settings.gateway_host, ours)
        require_free("127.0.0.1", {name: port for name, port in settings.ports.items() if name not in ours})

    def _start(self) -> None:
        settings = self._settings
        command = [str(TRITON_PYTHON), str(LAUNCHER), f"--model-repository={settings.repository}"]
        command += [
            f"--{kind}-port={settings.ports[f'TRITON_{kind.upper()}_PORT']}" for kind in ("grpc", "http", "metrics")
        ]
        command += [f"--state={settings.run_folder / 'triton'}"]
        command += [argument for name in settings.models() for argument in ("--load", name)]
        self._triton.start(command, os.environ)
        address = f"127.0.0.1:{settings.ports['TRITON_GRPC_PORT']}"
        ports = {name: str(settings.ports[name]) for name in GATEWAY_PORTS}
        environment = {**os.environ, **ports, "GATEWAY_TRITON": address, "PYTHONUNBUFFERED": "1"}
        self._gateway.start([sys.executable, "-m", "gateway"], environment)

    def _wait_for(self, what: str, child: Child, answers: Callable[[], bool]) -> None:
        begin = time.monotonic()
        reminded = begin
        self._say(f"waiting for {what} (log: {child.log})")
        while not answers():
            self._raise_if_ended()
            now = time.monotonic()
            if now - begin > READY_S:
                raise TookTooLong(what, child)
            if now - reminded > REMIND_S:
                reminded = now
                self._say(f"still waiting for {what}, {now - begin:.0f} s")
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
            if child.exit_status is not None:
                raise Ended(child)

    def _end(self) -> None:
        """The gateway first, so that what it has in work is still answered."""
        for child in (self._gateway, self._triton):
            child.stop(hurry=lambda: len(self._signals) > 1)

    def _triton_answers(self) -> bool:
        try:
            with PAST_PROXIES.open(self._settings.triton_live_url, timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _gateway_answers(self) -> bool:
        """Once it reaches Triton; a repository without a model that works is for the greeting to tell."""
        with GatewayClient(self._settings.address, timeout_s=5) as client:
            try:
                client.require_ready()
            except ModelNotReady:
                return True
            except JetserveError:
                return False
        return True

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
