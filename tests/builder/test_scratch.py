import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import pytest

from builder.scratch import Purpose, scratch_folder, sweep

ROOT = Path(__file__).parents[2]
HOLD = """
import time
from builder.scratch import scratch_folder
with scratch_folder("build") as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_what_a_killed_builder_left_is_swept(tmp_path: Path) -> None:
    """Once its process is gone, and never while it is there, however old the folder."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout is not None
    folder = Path(held.stdout.readline().strip())
    (folder / "weights").write_bytes(b"large")
    os.utime(folder, (0, 0))
    sweep()
    assert (folder / "weights").exists()
    held.send_signal(signal.SIGKILL)
    held.wait()
    held.stdout.close()
    sweep()
    assert not folder.exists()


@pytest.mark.parametrize("purpose", get_args(Purpose))
def test_the_folders_of_every_command_are_swept(tmp_path: Path, purpose: Purpose) -> None:
    """Whatever they were for: a comparison that was killed leaves hundreds of megabytes, as a build does."""
    with scratch_folder(purpose) as made:
        name = made.name
    left = tmp_path / name
    (left / "answers").mkdir(parents=True)
    os.utime(left, (0, 0))
    sweep()
    assert not left.exists()


def test_what_is_of_other_making_or_quite_new_stays(tmp_path: Path) -> None:
    """A folder that is not locked yet is young; other names are none of the builder's."""
    for name in ("jetserve-build-abc", "jetserve-other-p1-abc", "other"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "jetserve-job-p1-new").mkdir()
    with scratch_folder("job") as mine:
        sweep()
        assert len(list(tmp_path.iterdir())) == 5
    assert not mine.exists()
