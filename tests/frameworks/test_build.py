"""Whole builds with a framework at their start, by the command line, as `make build` runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder.conftest import snapshot
from tests.frameworks.jobs import NEEDS_FRAMEWORKS
from tests.gateway.serving import eventually

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/fruit-mobilenetv2"
BUILD_S = 300

pytestmark = list(NEEDS_FRAMEWORKS)


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "builder", "build", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(folder: Path, *arguments: object) -> tuple[int, str, str]:
    process = started(folder, *arguments)
    out, err = process.communicate(timeout=BUILD_S)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recipe has been built once."""
    folder = tmp_path_factory.mktemp("build")
    code, _, err = done(folder, RECIPE)
    assert code == 0, err
    return folder


def test_a_checkpoint_becomes_a_served_model_that_agrees_with_its_framework(folder: Path) -> None:
    """Every photo compared with the framework's own inference; the papers say from which weights and with what."""
    version = folder / "model_repository/fruit/1"
    parity = json.loads((version / "parity.json").read_text())
    assert parity["passed"]
    assert len(parity["images"]) >= 10
    assert "framework" in parity["reference"]
    build = json.loads((version / "build.json").read_text())
    [checkpoint] = RECIPE.glob("*.pth")
    assert build["checkpoint"]["name"] == checkpoint.name
    assert build["checkpoint"]["sha256"].startswith(checkpoint.stem[-8:])
    assert set(build["files"]) == {"config"}
    assert {"torch", "mmdeploy", "mmpretrain"} <= set(build["tools"])


def test_the_same_again_is_unchanged(folder: Path) -> None:
    """The exporter gives the same bytes each time; only the reports beside the version are those of the last build."""
    renewed = {f"fruit/1/{name}" for name in ("build.json", "parity.json", "parity.html")}
    before = snapshot(folder / "model_repository")
    code, out, err = done(folder, RECIPE)
    assert code == 0, err
    assert "unchanged" in out.splitlines()[-1]
    after = snapshot(folder / "model_repository")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= renewed


def test_bad_checkpoints_are_named(folder: Path) -> None:
    """Cut off, of another network, another file than its name says: the step, and nothing published."""
    [checkpoint] = RECIPE.glob("*.pth")
    (folder / "cut.pth").write_bytes(checkpoint.read_bytes()[:100_000])
    shutil.copy(checkpoint, folder / "fruit-0badc0de.pth")
    [other] = (ROOT / "recipes/balloon-rtmdet").glob("*.pth")
    before = snapshot(folder / "model_repository")
    for file, step, part in [
        (folder / "cut.pth", "export", "cut.pth"),
        (other, "contract", "balloon"),
        (folder / "fruit-0badc0de.pth", "fetch", "0badc0de"),
    ]:
        code, _, err = done(folder, RECIPE, "--checkpoint", file)
        assert code == 1
        assert err.startswith(f"failed at {step}: ")
        assert part in err
    assert snapshot(folder / "model_repository") == before


def test_an_interrupt_while_exporting_leaves_nothing(folder: Path) -> None:
    """After SIGTERM the framework's process ends with the build, its scratch is gone, the repository is as it was."""
    before = snapshot(folder / "model_repository")
    process = started(folder, RECIPE, "--force")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("fetch"):
            break
    eventually(lambda: with_torch(process.pid), within_s=60)
    [worker] = with_torch(process.pid)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not Path(f"/proc/{worker}").exists()
    assert snapshot(folder / "model_repository") == before
    assert list((folder / "tmp").glob("jetserve-*")) == []


def with_torch(pid: int) -> list[int]:
    """Its children that have come so far as to load torch."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "libtorch" in _maps(child)]


def _maps(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended meanwhile
        return ""
