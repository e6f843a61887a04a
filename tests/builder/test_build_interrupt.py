import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.__main__ import main as builder
from builder.publishing.repository import publish, served_version, versions
from tests.builder.conftest import snapshot
from tests.builder.recipes import onnx_source, write_recipe
from tests.builder.versions import files

ROOT = Path(__file__).parents[2]
STEPS = ["export", "contract", "check", "batch", "fold", "precision", "verify"]
WAIT = (
    "import builder.progress as p, sys, time\n"
    "say = p.say\n"
    "def slow(step, text):\n"
    "    say(step, text)\n"
    "    time.sleep(60 if step == sys.argv[1] else 0)\n"
    "import builder.commands.build as b\n"
    "b.say = slow\n"
    "from builder import __main__ as m\n"
    "m.end_like_ctrl_c()\n"
    "sys.exit(m.main(sys.argv[2:]))\n"
)
"""The command line; it goes no further than a step's line, so that the signal finds it there."""


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c() -> None:
    """Shells start what runs in the background with SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where version 1 of a recipe is served, and the recipe has changed since."""
    folder = tmp_path_factory.mktemp("first")
    recipe = write_recipe(folder / "recipe", onnx_source(folder / "recipe"))
    process = started(folder, "-m", "builder", "build", recipe)
    out = process.communicate(timeout=60)
    assert process.returncode == 0, out
    write_recipe(recipe, onnx_source(recipe, labels=["e", "f", "g", "h"]))
    return folder


@pytest.fixture
def built(first: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first, tmp_path / "built")


@pytest.mark.parametrize("step", STEPS)
def test_a_build_interrupted_at_any_step_leaves_everything_as_it_was(built: Path, step: str) -> None:
    """Ctrl-C and SIGTERM: exit code 130, the repository byte for byte, no scratch; the log says where."""
    before = snapshot(built / "model_repository")
    number = signal.SIGINT if STEPS.index(step) % 2 else signal.SIGTERM
    process = started(built, "-c", WAIT, step, "build", built / "recipe")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(step):
            process.send_signal(number)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert snapshot(built / "model_repository") == before
    assert list((built / "tmp").glob("jetserve-*")) == []
    last = max((built / ".builds" / "toy").glob("*.log"))
    assert "interrupted" in last.read_text()


def test_the_build_after_an_interrupt_publishes(built: Path) -> None:
    """Nothing is left in its way."""
    process = started(built, "-c", WAIT, "verify", "build", built / "recipe")
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("verify"))
    process.kill()
    process.communicate(timeout=60)
    again = started(built, "-m", "builder", "build", built / "recipe")
    out, err = again.communicate(timeout=60)
    assert (again.returncode, err) == (0, "")
    assert out.splitlines()[-1].endswith("toy/2")


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Sends SIGINT to this process in the n-th call of a function of `os` or `Path` that publishing makes."""

    def arrange(name: str, number: int) -> None:
        owner = os if hasattr(os, name) and name == "fsync" else Path
        original = getattr(owner, name)
        calls = 0

        def with_signal(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            result = original(*args, **options)
            if calls == number:
                os.kill(os.getpid(), signal.SIGINT)
            return result

        monkeypatch.setattr(owner, name, with_signal)

    return arrange


@pytest.mark.parametrize(
    ("name", "number"), [*(("fsync", n) for n in range(1, 9)), ("rename", 1), ("replace", 1), ("chmod", 1), ("open", 2)]
)
def test_publishing_is_whole_or_not_at_all(
    tmp_path: Path, interrupted_at: Callable[[str, int], None], name: str, number: int
) -> None:
    """A signal at any point of it: the old version as it was, or the new one complete and served."""
    publish(tmp_path, "toy", lambda version: files(version, b"old"))
    before = snapshot(tmp_path)
    interrupted_at(name, number)
    with pytest.raises(KeyboardInterrupt) as caught:
        publish(tmp_path, "toy", lambda version: files(version, b"new"))
    if not caught.value.args:
        assert snapshot(tmp_path) == before
    else:
        assert "toy/2 is published" in caught.value.args[0]
        assert served_version(tmp_path / "toy") == 2
        assert versions(tmp_path / "toy") == [1, 2]
        assert (tmp_path / "toy" / "2" / "model.onnx").read_bytes() == b"new"
        assert not list(tmp_path.glob(".*"))


def test_an_interrupt_before_the_switch_is_heeded(tmp_path: Path, interrupted_at: Callable[[str, int], None]) -> None:
    """It is put off, not forgotten."""
    publish(tmp_path, "toy", lambda version: files(version, b"old"))
    interrupted_at("fsync", 6)  # the last before the first rename
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, "toy", lambda version: files(version, b"new"))


def test_an_interrupt_after_the_switch_keeps_the_next_recipe_from_being_built(
    built: Path, interrupted_at: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was switched to is served and told; exit code 130, and nothing of the second recipe is begun."""
    second = write_recipe(built / "second", name="second")
    monkeypatch.chdir(built)
    interrupted_at("replace", 1)  # of config.pbtxt
    assert builder(["build", str(built / "recipe"), str(second)]) == 130
    assert served_version(built / "model_repository" / "toy") == 2
    assert not (built / "model_repository" / "second").exists()
    assert not (built / ".builds" / "second").exists()


def test_sigterm_during_the_first_imports(tmp_path: Path) -> None:
    """They take seconds; the usual words, and the usual exit code."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("import time; print('importing', flush=True); time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "builder", "list"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "interrupted; what was served is served still\n")
