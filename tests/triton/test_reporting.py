"""ONNX Runtime reports to its makers, and keeps an id of the machine in the home folder, unless it is told not to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_triton import PYTHON, ROOT, LocalTriton, require_triton

BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"


def test_nothing_is_kept_for_reports_by_the_builder_or_the_models_it_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing a model and serving it leave a home folder as empty as it was."""
    require_triton()
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    triton = LocalTriton(tmp_path / "triton")
    command: list[str | Path] = [sys.executable, "-m", "builder", "import", BUNDLE, "--name", "balloon"]
    subprocess.run([*command, "--repository", triton.repository], check=True, capture_output=True)
    triton.start("balloon")
    triton.stop()
    assert [str(path.relative_to(home)) for path in home.rglob("*")] == []


def test_a_home_folder_is_where_it_would_be_seen(tmp_path: Path) -> None:
    """Not told, this version of ONNX Runtime does keep something there: else the test before proves nothing."""
    require_triton()
    model = next(BUNDLE.glob("*.onnx"))
    code = f"import onnxruntime; onnxruntime.InferenceSession({str(model)!r}, providers=['CPUExecutionProvider'])"
    told = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([PYTHON, "-c", code], env=told, check=True, capture_output=True)
    assert list(tmp_path.rglob("*"))
