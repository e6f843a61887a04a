"""Fixtures that several packages' tests share."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local_triton import ROOT, LocalTriton, require_triton


def pytest_configure() -> None:
    """Ctrl-C is heeded, here and in what tests start: a shell's background jobs are begun with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    yield server
    server.kill()  # its own way to end takes ten seconds, and is tested elsewhere


@pytest.fixture(scope="session")
def balloon(triton: LocalTriton) -> LocalTriton:
    """The same, with the detector that comes with the project, by its name in the documents; nobody unloads it."""
    from builder.__main__ import main as build  # most tests need none of it

    bundle = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
    assert build(["import", str(bundle), "--name", "balloon", "--repository", str(triton.repository)]) == 0
    triton.load("balloon")
    return triton
