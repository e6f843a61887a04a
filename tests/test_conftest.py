"""What the tests do where a Triton is ended by its own lock: one more try, and only then."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_triton import LOCK, ROOT

TESTS = """
import subprocess
from tests.local_triton import LocalTriton

runs = []

def test_that_fails_once(tmp_path):
    triton = LocalTriton(tmp_path)
    triton._process = subprocess.Popen(["false"])
    triton.log.write_bytes({said!r})
    LocalTriton.begun.append(triton)
    runs.append(triton)
    assert len(runs) == 2
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"terminate: " + LOCK, "1 passed"), (b"Segmentation fault", "1 failed")],
    ids=["its lock", "something else"],
)
def test_a_test_that_failed_is_run_once_more(said: bytes, told: str, tmp_path: Path) -> None:
    """Where the lock ended its Triton and nowhere else; and the summary tells."""
    file = tmp_path / "test_once.py"
    file.write_text(TESTS.format(said=said))
    pytest_of_its_own = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        str(file),
    ]
    ended = subprocess.run(pytest_of_its_own, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert told in ended.stdout, ended.stdout + ended.stderr
    assert ("RUN AGAIN" in ended.stdout) == (told == "1 passed")
