"""Run `ensure` in a process that is killed at a point of its work, look at what is left, and run it again.

    python -m tests.builder.ensure.killing FOLDER ARTEFACTS SCENARIO POINTS

A process of its own, since it forks: imports are done once, and threads there are none. A point is a number of steps:
files opened, made, renamed or removed in the device's folder, and processes started. Each rename is one of the points,
for what is served changes there; the others are spread over the work. One JSON line a point.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder import __main__ as command
from tests.builder.ensure.conftest import Jetson

WATCHED = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "subprocess.Popen")


def main(folder: Path, artefacts: Path, scenario: str, points: int) -> None:
    command._parser()  # imports what it needs, for every child
    template = prepared(folder / "template", artefacts, scenario)
    total, renames = json.loads(os.read(forked(lambda: told(copied(template, "whole"))), 4096))
    for point in spread(total, renames, points):
        jetson = copied(template, str(point))
        killed = waited(lambda jetson=jetson, point=point: dying(jetson, point))  # type: ignore[misc]
        left = jetson.served()
        again = waited(jetson.ensure)
        line = {
            "point": point,
            "total": total,
            "killed": killed == -signal.SIGKILL,
            "left": left,
            "again": again,
            "served": jetson.served(),
            "tidy": jetson.is_tidy(),
        }
        sys.stdout.write(json.dumps(line) + "\n")


def spread(total: int, renames: list[int], points: int) -> list[int]:
    """So many points, the renames among them; the others are those of equal distances that are farthest from these."""
    equal = [point for number in range(points) if (point := 1 + number * total // points) not in renames]
    equal.sort(key=lambda point: -min(abs(point - rename) for rename in renames))
    return sorted([*renames, *equal[: points - len(renames)]])


def copied(template: Jetson, name: str) -> Jetson:
    """The same device, in a folder of its own beside it."""
    folder = shutil.copytree(template.folder, template.folder.with_name(name))
    return settled(folder, json.loads((template.folder / "behaviour.json").read_text()))


def settled(folder: Path, behaviour: dict[str, Any]) -> Jetson:
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder / "tmp")
    jetson = Jetson(folder)
    jetson.behaves(**behaviour)
    os.environ.update(jetson.environment)
    return jetson


def prepared(folder: Path, artefacts: Path, scenario: str) -> Jetson:
    """A device that serves version 1 and has something to do; with `first` it serves nothing yet."""
    jetson = settled(folder, {})
    jetson.receives(artefacts / "first")
    if scenario != "first":
        assert waited(jetson.ensure) == 0
    if scenario == "artefact":
        jetson.receives(artefacts / "second")
    if scenario == "upgrade":
        jetson.behaves(tensorrt="10.7.0")
    return jetson


def counted(jetson: Jetson, on_step: Callable[[int, str], None]) -> int:
    """Ensure, `on_step` being called before each step with its number and what it is."""
    number = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if event not in WATCHED:
            return
        if event == "subprocess.Popen" or any(str(part).startswith(str(jetson.folder)) for part in arguments):
            number += 1
            on_step(number, event)

    sys.addaudithook(hook)
    return jetson.ensure()


def dying(jetson: Jetson, point: int) -> int:
    def die(number: int, _: str) -> None:
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return counted(jetson, die)


def told(jetson: Jetson) -> int:
    """How many steps there are, and which of them are renames, into the file that standard output is."""
    steps: list[str] = []
    code = counted(jetson, lambda _, event: steps.append(event))
    renames = [number for number, event in enumerate(steps, 1) if event == "os.rename"]
    os.pwrite(1, json.dumps([len(steps), renames]).encode(), 0)
    return code


def forked(function: Callable[[], int]) -> int:
    """Run in a child that has a file for its standard output, which comes back; it must have gone well."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    assert waited(function, descriptor) == 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def waited(function: Callable[[], int], output: int | None = None) -> int:
    """The exit code of a child that runs it; below 0, the signal that ended it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY) if output is None else output, 1)
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
