"""What the tests of this folder stand on."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docker.engine import ROOT


def test_two_runs_do_not_meet(tmp_path: Path) -> None:
    """Each has a name for its stacks; one that has ended gives its name to the next, which clears up after it."""
    command = [sys.executable, "-c", "from tests.docker.engine import project; print(project(), flush=True); input()"]

    def run() -> "subprocess.Popen[str]":
        environment = {**os.environ, "TMPDIR": str(tmp_path)}  # where no other runs are
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)

    def name_of(running: "subprocess.Popen[str]") -> str:
        assert running.stdout is not None
        return running.stdout.readline()

    with run() as ours:
        first = name_of(ours)
        others = []
        for _ in range(2):
            with run() as other:
                others.append(name_of(other))
                other.communicate("\n")
        ours.communicate("\n")
    with run() as after:
        assert others[0] == others[1] != first == name_of(after)
        after.communicate("\n")
