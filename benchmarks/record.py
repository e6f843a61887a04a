"""What every benchmark writes down: the figures, and everything they depend on."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "mmdeploy-runtime", "fastapi", "uvicorn", "grpcio")


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, p50, p90 and p99 in milliseconds."""
    ms = np.asarray(seconds) * 1e3
    return {
        "mean": round(float(ms.mean()), 3),
        **{f"p{q}": round(float(np.percentile(ms, q)), 3) for q in (50, 90, 99)},
    }


def sha256(path: Path) -> str:
    """Of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def conditions() -> dict[str, Any]:
    """Commit, machine, versions and time of this run."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    cpu = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "commit": commit.stdout.strip() or "unknown",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # mmdeploy-runtime has few wheels
        return None


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"conditions": conditions(), **record}, indent=2) + "\n")
    print(f"record: {path}")
