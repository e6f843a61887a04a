"""A program that stands in for tegrastats: it writes recorded lines, and may break off, fall silent or babble."""

import os
import shlex
import sys
from pathlib import Path

from tests.telemetry.test_tegrastats import LINES

STARTED = """#!/bin/sh
exec {python} {program} "$@"
"""
"""In two files: no interpreter's path may have a space in `#!`, and a checkout's may."""

PROGRAM = """import os, sys, time
lines, behaviour = {lines!r}, {behaviour!r}
assert sys.argv[1] == "--interval", sys.argv
with open({pids!r}, "a") as file:
    print(os.getpid(), file=file)
if behaviour == "fails":
    print("tegrastats: cannot open /sys/kernel/debug: 13", file=sys.stderr)
    sys.exit(3)
print("this is no line", flush=True)
while behaviour == "babbles":
    print("\\xff\\x00 nonsense " * 100, flush=True)
    time.sleep(int(sys.argv[2]) / 1000)
for number in range(10**6):
    print(lines[number % len(lines)], flush=True)
    if behaviour == "breaks off" and number == 1:
        os._exit(9)
    time.sleep(3600 if behaviour == "falls silent" else int(sys.argv[2]) / 1000)
"""


def write(folder: Path, behaviour: str = "works") -> Path:
    """An executable `tegrastats` in a folder; the pids of those that were started are in `pids`, line by line."""
    program = folder / "tegrastats"
    lines = [recorded["line"] for recorded in LINES if "Orin Nano Super" in recorded["device"]]
    script = folder / "tegrastats.py"
    script.write_text(PROGRAM.format(lines=lines, behaviour=behaviour, pids=str(folder / "pids")))
    program.write_text(STARTED.format(python=shlex.quote(sys.executable), program=shlex.quote(str(script))))
    program.chmod(0o755)
    return program


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
