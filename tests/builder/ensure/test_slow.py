"""A build that takes its time: what is shown meanwhile, and how it is ended."""

import itertools
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder.ensure import installation
from tests.builder.conftest import snapshot
from tests.builder.ensure.conftest import Jetson
from tests.builder.test_worker import is_gone

ROOT = Path(__file__).parents[3]


def test_progress_is_said_where_there_is_no_terminal(
    jetson: Jetson, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container's log: now and then a line with the share that is done; all of it in the log beside."""
    seconds = itertools.count(step=installation.EVERY_S / 2)
    monkeypatch.setattr(installation, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    assert jetson.ensure() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "%, step" in line]
    assert lines == ["engine    toy: 25%, step 1, 30 s", "engine    toy: 75%, step 3, 60 s"]
    log = next((jetson.work / "logs").glob("*.log")).read_text()
    for step in range(5):
        assert f"engine: {25 * step} of 100 toy: step {step}" in log


def test_an_interrupt_ends_a_slow_build_and_the_last_good_version_stays(serving: Jetson, built: Path) -> None:
    """Ctrl-C at half of the bar: nothing is left, nothing is changed, and the next run finishes the work."""
    serving.receives(built / "second")
    serving.behaves(stuck_at=2)
    before = snapshot(serving.repository)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "builder", *serving.arguments],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        shown = b""
        while not (b"step 2" in shown and b"50/100" in shown):
            shown += os.read(ours, 4096)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            _read(ours)
        assert process.returncode == 130
    os.close(ours)
    assert len(children) == 1
    assert is_gone(int(children[0]))
    assert snapshot(serving.repository) == before
    assert serving.served() == 1
    assert serving.is_tidy()
    serving.behaves()
    assert serving.ensure() == 0
    assert serving.served() == 2


def _read(terminal: int) -> None:
    """What it shows; nothing, once the other side is closed."""
    try:
        os.read(terminal, 4096)
    except OSError:
        return
