"""`python -m benchmarks.peers` as people run it, with sides that need no server of ours."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.subject import MAX_BYTES, MODEL, SIZE_WH, photo_jpeg
from vision.header import header_from_bytes

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.peers"]
SIDES = ["bare-2x1", "load-alone"]
NEEDS_DATA = pytest.mark.skipif(not MODEL.exists(), reason=f"{MODEL} is missing: set JETSERVE_DATA")


@pytest.mark.data
@NEEDS_DATA
def test_a_run_writes_a_record_and_a_plot(tmp_path: Path) -> None:
    """Every side with its rates, times and failures, at one user and at eight.

    A machine that stands still answers nobody for so long: one run of three in which all were answered is enough.
    """
    out = tmp_path / "peers.json"
    for _ in range(3):
        found = measured(out)
        if all(figures["requests"] for side in found["sides"].values() for figures in side.values()):
            break
    assert list(found["sides"]) == SIDES
    for side in SIDES:
        for users in ("1 users", "8 users"):
            figures = found["sides"][side][users]
            assert figures["failures"] == 0
            assert figures["requests"] == pytest.approx(0.5 * figures["requests_per_s"], abs=0.1)
            assert len(figures["requests_per_s_by_round"]) == 1
            assert 0 < figures["ms"]["p50"] <= figures["ms"]["p90"] <= figures["ms"]["p99"]
    assert found["photo"]["boxes"] > 0
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in out.read_text()


def measured(out: Path) -> dict[str, Any]:
    """The record of a run of half a second."""
    times = ["--rounds", "1", "--seconds", "0.5", "--warmup", "0.1"]
    run = subprocess.run(
        [*COMMAND, "--sides", ",".join(SIDES), *times, "--out", str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.data
@NEEDS_DATA
def test_the_photo() -> None:
    """A JPEG of 413x300 of some 35 KB."""
    photo = photo_jpeg()
    header = header_from_bytes(photo)
    assert (header.format, header.width, header.height) == ("jpeg", *SIZE_WH)
    assert 0.85 * MAX_BYTES < len(photo) <= MAX_BYTES


def test_a_side_that_there_is_none_of() -> None:
    """The command names it, and those there are."""
    run = subprocess.run([*COMMAND, "--sides", "jetserve,nginx"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "no such side: nginx; there are jetserve, jetserve-plain, bentoml-2x1" in run.stderr
