"""What the tests of `builder/frameworks` share: its environment, and photos of sizes that no pipeline likes."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.frameworks.job import Job

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv/frameworks/bin/python"
NEEDS_FRAMEWORKS = (
    pytest.mark.frameworks,
    pytest.mark.skipif(
        not PYTHON.exists() and "CI" not in os.environ, reason="needs .venv/frameworks: make setup-frameworks"
    ),
)
ODD_HW = ((333, 517), (1023, 241), (191, 640))
End = tuple[str, str] | None
"""Of a job: None, or the step that failed and what it said."""


def ends_of(folder: Path, *jobs: Job) -> list[End]:
    """Do jobs in one process."""
    files = []
    for number, job in enumerate(jobs):
        job.out.mkdir(parents=True, exist_ok=True)
        files.append(folder / f"job-{number}.json")
        files[-1].write_text(json.dumps(asdict(job), default=str))
    printed = in_frameworks([str(ROOT / "tests/frameworks/run_jobs.py"), *map(str, files)])
    return [None if end is None else (end[0], end[1]) for end in json.loads(printed)]


def in_frameworks(arguments: Sequence[str]) -> bytes:
    """Standard output of the frameworks' Python; the end of its standard error is in the message if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [str(PYTHON), *arguments], env=environment, capture_output=True, check=False, timeout=600, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout


def odd_photos(folder: Path) -> tuple[Path, ...]:
    """JPEG and PNG files with edges and soft places, in `ODD_HW`."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(5)
    paths = []
    for number, (height, width) in enumerate(ODD_HW):
        coarse = random.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        picture[height // 3 : height // 2, width // 4 : width // 2] = random.integers(0, 256, 3, dtype=np.uint8)
        paths.append(folder / f"{height}x{width}.{'png' if number == 1 else 'jpg'}")
        cv2.imwrite(str(paths[-1]), picture)
    return tuple(paths)
