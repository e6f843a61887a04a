"""SIGKILL, as a power cut would be to a process, at points spread over the work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder.ensure.conftest import Jetson

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("scenario", "points"), [("artefact", 10), ("upgrade", 5), ("first", 5)])
def test_ensure_killed_at_any_point_leaves_the_last_good_version(
    built: Path, tmp_path: Path, scenario: str, points: int
) -> None:
    """20 points: what is served is whole, the old version or the new, and the next run finishes the work and tidies."""
    command = [
        sys.executable,
        "-m",
        "tests.builder.ensure.killing",
        *map(str, (tmp_path / "devices", built, scenario, points)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == points
    wanted = 1 if scenario == "first" else 2
    for line in lines:
        assert line["killed"], line
        assert line["left"] in ((None, 1) if scenario == "first" else (1, 2)), line
        assert (line["again"], line["served"], line["tidy"]) == (0, wanted, True), line


@pytest.mark.parametrize("point", ["describe", "0", "2", "4", "written", "run"])
def test_the_engine_program_killed_at_any_point_leaves_the_last_good_version(
    serving: Jetson, built: Path, point: str
) -> None:
    """Whatever it was at; the next run finishes the work."""
    serving.receives(built / "second")
    serving.behaves(die_at=point)
    assert serving.ensure("--workspace", "64") == 1
    assert serving.served() == 1
    assert serving.is_tidy()
    serving.behaves()
    assert serving.ensure() == 0
    assert serving.served() == 2
