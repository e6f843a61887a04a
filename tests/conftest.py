"""Fixtures that several packages' tests share."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from tests.local_triton import ROOT, LocalTriton, require_triton

AGAIN: list[str] = []
"""Tests that were run once more."""


def pytest_configure() -> None:
    """Ctrl-C is heeded, here and in what tests start: a shell's background jobs are begun with it ignored.

    What hypothesis draws is the same in every run, and may take as long as a busy machine does.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.load_profile("ci")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for nodeid in AGAIN:
        terminalreporter.write_line(f"RUN AGAIN {nodeid}: its Triton had been ended by a lock")
    for name in LocalTriton.hung:
        terminalreporter.write_line(f"STARTED AGAIN: a Triton that waited for good while it loaded {name}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """As pytest's own, and once more for a test whose Triton its lock has ended: the machine stood still, no more."""
    place = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**place)
    for is_last in (False, True):
        with suppress(RuntimeError):  # the test will say what it thinks of that
            LocalTriton.start_those_that_ended()
        LocalTriton.forget_the_ended()
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if is_last or not any(report.failed for report in reports) or not LocalTriton.one_was_ended_by_its_lock():
            break
        AGAIN.append(item.nodeid)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**place)
    return True


class Loop(asyncio.SelectorEventLoop):
    """Of the tests that are asynchronous. gRPC has one queue for all the loops of a process, and whichever is awake
    empties it: what came for one that has ended, with a call that nobody waited for, is no failure of another."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not _is_of_an_ended_loop(str(context.get("message")), context.get("exception")):
            super().call_exception_handler(context)


def _is_of_an_ended_loop(message: str, error: object) -> bool:
    return "PollerCompletionQueue._handle_events" in message and str(error) == "Event loop is closed"


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": Loop}


@pytest.fixture(scope="session", autouse=True)
def _log_of_ended_loops() -> Iterator[None]:
    """The same in the log, of which tests say what must not be in it."""

    def is_kept(record: logging.LogRecord) -> bool:
        return not _is_of_an_ended_loop(record.getMessage(), (record.exc_info or (None, None))[1])

    log = logging.getLogger("asyncio")
    log.addFilter(is_kept)
    yield
    log.removeFilter(is_kept)


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    """A real Triton with an empty repository: write a model into `triton.repository`, then `triton.load(name)`.

    One for the whole run: a test that kills it starts it again, with what was loaded, and models have names of
    their own.
    """
    require_triton()
    server = LocalTriton(tmp_path_factory.mktemp("triton"))
    server.start()
    with server.kept_up():
        yield server


@pytest.fixture(scope="session")
def balloon(triton: LocalTriton) -> LocalTriton:
    """The same, with the detector that comes with the project, by its name in the documents; nobody unloads it."""
    from builder.__main__ import main as build  # most tests need none of it

    bundle = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
    assert build(["import", str(bundle), "--name", "balloon", "--repository", str(triton.repository)]) == 0
    triton.load("balloon")
    return triton
