"""What runs leave on the disk: folders of samples, and records, their names and how they are written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import record as records
from loadtest.conditions import record_name
from loadtest.plan import Plan
from loadtest.scratch import YOUNG_S, scratch, sweep
from tests.loadtest.simulated import record_of
from tests.local_triton import ROOT

HELD = """
import sys
from pathlib import Path
from loadtest.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    input()
"""


def test_a_killed_run_s_folder_is_swept_and_a_living_one_s_stays(tmp_path: Path) -> None:
    """By the next run, wherever it runs: a lock says who lives, and a process's number is another in a container."""
    command = [sys.executable, "-c", HELD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with scratch(tmp_path) as mine:
            sweep(tmp_path)
            assert (left.is_dir(), mine.is_dir()) == (True, True)
        assert not mine.exists()
        other.kill()
    with scratch(tmp_path):
        assert not left.exists()


def test_a_folder_that_is_made_just_now_stays(tmp_path: Path) -> None:
    """Its run has not locked it yet; one that is old was never to be."""
    young, old = tmp_path / ".samples-young", tmp_path / ".samples-old"
    young.mkdir()
    old.mkdir()
    os.utime(old, (0, old.stat().st_mtime - 2 * YOUNG_S))
    sweep(tmp_path)
    assert (young.exists(), old.exists()) == (True, False)


def test_runs_of_the_same_have_names_of_their_own() -> None:
    """However many models there are: when a run began is never cut off."""
    models: dict[str, str] = {f"model-number-{number}": "1" for number in range(30)}
    names = [record_name(Plan(), models, began) for began in ("20260101T000000.000001Z", "20260101T000000.000002Z")]
    assert names[0] != names[1]
    assert max(map(len, names)) <= 120


def test_a_record_has_a_line_for_a_window_and_comes_back(tmp_path: Path) -> None:
    """Small enough for a repository, and a change of it can be read."""
    window = records.Window(begin_s=1, seconds=1, due=9, sent=9, answered=9, latency=dict.fromkeys(range(500), 1))
    summary = records.Summary(due=9, sent=9, answered=9, due_per_s=9, answered_per_s=9, images=9)
    stage = records.Stage(name="a", users=1, begin_s=0, seconds=40, windows=[window] * 40, summary=summary)
    series = records.Series(name="machine.cpu", unit="cores", times_s=[0.5] * 40, values=[1.5, None] * 20)
    record = record_of([stage], series=[series])
    records.write(tmp_path / "record.json", record)
    assert records.read(tmp_path / "record.json") == record
    lines = (tmp_path / "record.json").read_text().splitlines()
    assert sum('"begin_s":1.0' in line for line in lines) == 40
    assert len(lines) < 140


def test_a_record_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    """And nothing half done beside it."""
    (tmp_path / "record.json").mkdir()
    with pytest.raises(OSError, match=r"record\.json"):
        records.write_text(tmp_path / "record.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
