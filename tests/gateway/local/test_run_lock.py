"""One run at a time, found while it lives and not after."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.local import background
from gateway.local.run_lock import AlreadyRunning, Running, run_lock, running_in
from gateway.local.settings import settings_from_environment

ADDRESS = "http://127.0.0.1:8080"


def test_found_while_held(tmp_path: Path) -> None:
    """A run is found with its process, address and readiness, and no second one starts."""
    assert running_in(tmp_path) is None
    with run_lock(tmp_path, ADDRESS) as mark_ready:
        assert running_in(tmp_path) == Running(os.getpid(), ADDRESS, ready=False)
        mark_ready(True)
        assert running_in(tmp_path) == Running(os.getpid(), ADDRESS, ready=True)
        with pytest.raises(AlreadyRunning, match=f"already running at {ADDRESS}"), run_lock(tmp_path, "elsewhere"):
            pass
        mark_ready(False)
        assert running_in(tmp_path) == Running(os.getpid(), ADDRESS, ready=False)
    assert running_in(tmp_path) is None


class Waiting(Console):
    """Has the holder become ready once it is said to be waited for."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        super().__init__(quiet=True)
        self._holder, self.waited = holder, False

    def print(self, *objects: Any, **_: Any) -> None:
        if "waiting for the run" in str(objects[0]):
            self.waited = True
            assert self._holder.stdin is not None
            self._holder.stdin.write(b"\n")
            self._holder.stdin.flush()


def test_a_second_start_waits_for_the_first(tmp_path: Path) -> None:
    """Who starts a run in the background while another is starting returns when that one answers, not before."""
    program = "import sys, time; from pathlib import Path; from gateway.local.run_lock import run_lock\n"
    program += "with run_lock(Path(sys.argv[1]), 'x') as ready:\n"
    program += "    print('held', flush=True); sys.stdin.readline(); ready(True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        console = Waiting(holder)
        settings = settings_from_environment({}, repository=tmp_path, run_folder=tmp_path)
        assert background.start(settings, console) == 0
        assert running_in(tmp_path) == Running(holder.pid, "x", ready=True)
        assert console.waited
        holder.kill()


def test_stale_process_id(tmp_path: Path) -> None:
    """What a killed run left behind is no run, even if its process id has been given to another."""
    program = "import sys, time; from pathlib import Path; from gateway.local.run_lock import run_lock\n"
    program += "with run_lock(Path(sys.argv[1]), 'x') as ready: ready(True); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert running_in(tmp_path) == Running(holder.pid, "x", ready=True)
        holder.send_signal(signal.SIGKILL)
    (tmp_path / "supervisor.pid").write_text(f"{os.getpid()}\nx\n")
    assert running_in(tmp_path) is None
    with run_lock(tmp_path, ADDRESS):
        assert running_in(tmp_path) == Running(os.getpid(), ADDRESS, ready=False)
