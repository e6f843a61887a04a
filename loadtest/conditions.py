"""What a run's figures depend on, for its record; and the name that says the most of it."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loadtest.plan import Plan
from vision import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("locust", "gevent", "geventhttpclient", "grpcio", "numpy")
LONGEST_NAME = 120


def conditions_of(
    plan: Plan, target_models: Mapping[str, Any], server: Mapping[str, Any], device: str | None
) -> dict[str, Any]:
    """As `loadtest.record.Record.conditions` has them."""
    return {
        "commit": _commit(),
        "jetserve": __version__,
        "generator": {
            "host": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "cpu": cpu(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in PACKAGES},
            "processes": plan.processes,
        },
        "target": {"host": plan.host, "transport": plan.transport, "template": plan.template},
        "models": dict(target_models),
        "server": dict(server) | {"telemetry": device},
    }


def record_name(plan: Plan, models: Mapping[str, Any], began: str) -> str:
    """Of what was asked, how, with which load, where and when; a file's name."""
    loads = plan.loads()
    load = loads[0].label if len(loads) == 1 else f"{loads[0].label}-to-{loads[-1].label}"
    if plan.spike is not None:
        load = f"spike-{plan.spike.spike:g}"
    machine = f"{_short(cpu())}-{os.cpu_count()}core"
    parts = [plan.name, "+".join(models), plan.transport, load.replace("/s", "-per-s"), machine]
    said = "_".join(re.sub(r"[^\w.+-]+", "-", part).strip("-") for part in parts if part)
    return f"{said[: LONGEST_NAME - len(began) - 1]}_{began}"  # when is what no other run has: it stays whole


def cpu() -> str:
    """Its model's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(errors="replace").strip("\0 \n")
    return names[0] if names else platform.machine()


def _short(name: str) -> str:
    """A word for it: epyc, xeon, orin; lower case."""
    known = re.search(r"epyc|xeon|ryzen|core|orin|xavier|thor|nano", name.lower())
    return known[0] if known else platform.machine()


def _commit() -> str | None:
    try:
        told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    except OSError:  # a container without git
        return None
    return told.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
