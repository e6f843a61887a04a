"""What the tests of this folder stand on."""

import subprocess
import sys

from tests.docker.engine import ROOT, project


def test_two_runs_do_not_meet() -> None:
    """Each has a name for its stacks; one that has ended gives its name to the next, which clears up after it."""
    command = [sys.executable, "-c", "from tests.docker.engine import project; print(project())"]
    ours = project()
    others = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert ours == project()
    assert others[0] == others[1] != f"{ours}\n"
