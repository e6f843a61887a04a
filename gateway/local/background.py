"""A run that outlives the command that started it, for scripts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from gateway.local.run_lock import Running, running_in
from gateway.local.settings import ROOT, LocalSettings

POLL_S = 0.1
SETTLE_S = 330.0
"""As long as one that starts waits for either of its parts, and a little more."""
STOP_MARGIN_S = 45.0
"""For Triton to end, after the gateway."""
NOT_READY = "starting, starting again or ending"


def start(settings: LocalSettings, console: Console) -> int:
    """Start a run in a session of its own; 0 once it is ready, 1 with its last words when it ends before."""
    if running := _settled(settings.run_folder, console):
        if not running.ready:
            _say(console, f"the run at {running.address} (process {running.pid}) is not ready after {SETTLE_S:.0f} s")
            return 1
        _say(console, f"already running at {running.address} (process {running.pid})")
        return 0
    settings.run_folder.mkdir(parents=True, exist_ok=True)
    log = settings.log("supervisor")
    command = [sys.executable, "-m", "gateway.local", "run"]
    command += [f"--repository={settings.repository}", f"--run-folder={settings.run_folder}"]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this same program
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        return _follow(process, log, settings.run_folder, console)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return 130  # 128 + SIGINT, as shells have it


def stop(settings: LocalSettings, console: Console) -> int:
    """End the run, wherever it was started; 0 when none is left."""
    running = running_in(settings.run_folder)
    if running is None:
        _say(console, "not running")
        return 0
    os.kill(running.pid, signal.SIGTERM)
    limit_s = settings.gateway_grace_s + STOP_MARGIN_S
    deadline = time.monotonic() + limit_s
    while running_in(settings.run_folder) is not None:
        if time.monotonic() > deadline:
            _say(console, f"process {running.pid} has not ended after {limit_s:.0f} s; see {settings.run_folder}")
            return 1
        time.sleep(POLL_S)
    _say(console, "stopped")
    return 0


def status(settings: LocalSettings, console: Console) -> int:
    """0 when ready, 3 when not (as `systemctl status` has it)."""
    running = running_in(settings.run_folder)
    _say(console, _described(running, settings.run_folder))
    return 0 if running and running.ready else 3


def _settled(folder: Path, console: Console) -> Running | None:
    """The run of this folder, waited for while it is starting or ending: ready, or None once there is none."""
    running = running_in(folder)
    if running and not running.ready:
        _say(console, f"waiting for the run that is {NOT_READY} there (process {running.pid})")
    deadline = time.monotonic() + SETTLE_S
    while running and not running.ready and time.monotonic() < deadline:
        time.sleep(POLL_S)
        running = running_in(folder)
    return running


def _described(running: Running | None, folder: Path) -> str:
    if running is None:
        return f"not running; logs of the last run: {folder}"
    state = "ready" if running.ready else NOT_READY
    return f"{state}: {running.address} (process {running.pid}), logs: {folder}"


def _follow(process: subprocess.Popen[bytes], log: Path, folder: Path, console: Console) -> int:
    """Repeat what the run says until it is ready or ends."""
    with log.open(errors="replace") as lines:
        while True:
            ended = process.poll() is not None
            running = running_in(folder)
            ready = running is not None and running.pid == process.pid and running.ready
            if said := lines.read():
                _say(console, said.rstrip("\n"))
            if ended:
                return process.returncode or 1
            if ready:
                return 0
            time.sleep(POLL_S)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
