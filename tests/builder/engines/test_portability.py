"""The engine program in Pythons that are not the builder's own."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.engines.program import PROGRAM

OLDEST = (3, 8)
FILES = sorted(PROGRAM.glob("*.py"))
LATER = {"numpy": {"running.py", "bindings.py"}}
"""Modules that import it at once: they are imported only after NumPy was found."""
Device = Callable[[str | None], Path]


def answer(python: Path, job: str, *, isolated: bool = True) -> dict[str, dict[str, str]]:
    command: list[str | Path] = [python, *(["-I"] if isolated else []), PROGRAM]
    done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (1 if "error" in lines[-1] else 0), done.stderr
    last: dict[str, dict[str, str]] = lines[-1]
    return last


def other_pythons() -> Iterator[Path]:
    """Of the versions that JetPacks have, those that are on this machine."""
    pyenv = Path.home() / ".pyenv" / "versions"
    for version in ("3.8", "3.10", "3.12"):
        for found in (*sorted(pyenv.glob(f"{version}.*/bin/python")), shutil.which(f"python{version}")):
            if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
                yield Path(found)
                break


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_written_for_python_3_8(path: Path) -> None:
    """JetPack 5's Python reads it, and needs nothing but the standard library to begin."""
    tree = ast.parse(path.read_text(), feature_version=OLDEST)
    assert "from __future__ import annotations" in path.read_text() or path.name == "__init__.py"
    names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    allowed = {name for name, files in LATER.items() if path.name in files}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"builder"} == allowed
    assert {name for name in names if name.startswith("builder")} <= {"builder.engine", *own_modules()}


def own_modules() -> set[str]:
    return {f"builder.engine.{path.stem}" for path in FILES}


@pytest.mark.parametrize("python", [Path(sys.executable), *other_pythons()], ids=lambda path: "-".join(path.parts[-3:]))
def test_every_python_says_that_tensorrt_is_missing(python: Path) -> None:
    """In a real process, isolated: one line, what is missing, and the commands that mend it."""
    error = answer(python, '{"job": "describe"}')["error"]
    assert error["kind"] == "no_tensorrt"
    assert "cannot import" in error["detail"]
    assert "python3-libnvinfer" in error["detail"]
    assert "--system-site-packages" in error["detail"]


def test_polygraphy_is_missing(device: Device, tmp_path: Path) -> None:
    """As on a JetPack where only TensorRT was installed: named, with the lock file."""
    python = device("8.5.2")
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    blocked = (
        'import runpy, sys; sys.modules["polygraphy"] = None; sys.path.insert(0, "");'
        ' runpy.run_path(sys.argv.pop(1), run_name="__main__")'
    )
    done = subprocess.run(
        [python, "-c", blocked, PROGRAM], input='{"job": "describe"}', capture_output=True, text=True, timeout=60
    )
    error = json.loads(done.stdout)["error"]
    assert site.exists()
    assert error["kind"] == "no_tensorrt"
    assert "cannot import polygraphy" in error["detail"]
    assert "requirements/device.txt" in error["detail"]


@pytest.mark.parametrize("job", ["no JSON", "[]", '{"job": "burn"}', "{}"])
def test_a_job_that_is_none(device: Device, job: str) -> None:
    error = answer(device(None), job)["error"]
    assert error["kind"] == "bad_input"


def test_a_job_by_hand(device: Device) -> None:
    """On standard input, and without -I: what libraries print does not reach standard output."""
    fields = answer(device("10.3.0"), '{"job": "describe"}', isolated=False)["result"]
    assert fields["tensorrt"] == "10.3.0"


def test_the_checkout_stays_out_of_the_way(device: Device, tmp_path: Path) -> None:
    """Another Python's packages may lie beside `builder`: the program takes nothing else from there."""
    shutil.copytree(PROGRAM, tmp_path / "builder" / "engine", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROGRAM.parent / "__init__.py", tmp_path / "builder")
    (tmp_path / "numpy.py").write_text("raise SystemExit('of another Python')")
    command: list[str | Path] = [device("8.6.1"), "-I", tmp_path / "builder" / "engine"]
    done = subprocess.run(
        command, input='{"job": "describe"}', capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert json.loads(done.stdout.splitlines()[-1])["result"]["tensorrt"] == "8.6.1", done.stderr
