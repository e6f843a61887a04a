"""The builder's side of the engine program: its process, what it answers, and how it ends."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builder.engine.faults import fault_of
from builder.engine.hearing import Hearing, monitor_for
from builder.engine.telling import Telling
from builder.engines.jobs import KINDS, BuildJob, EngineError, Engines, Kind, ShapeRange
from builder.engines.program import PYTHONS, VARIABLE, EngineProgram, device_python
from builder.progress import Log
from tests.builder.engines import graphs
from tests.builder.engines.jobs import feed
from tests.builder.test_worker import is_gone
from tests.programs import python_program
from tests.tensorrt_api.module import module_of
from tests.tensorrt_api.surface import surface_of

Device = Callable[[str | None], Path]
ROOT = Path(__file__).parents[3]
VERSION = "10.3.0"
SHAPES = ShapeRange((1, 3, 4, 4), (2, 3, 4, 4), (8, 3, 4, 4))
TELL = "import json, os, sys, time\ndef tell(**line):\n    print(json.dumps(line), flush=True)\n"


def job(folder: Path) -> BuildJob:
    (folder / "model.onnx").write_bytes(graphs.plain())
    return BuildJob(folder / "model.onnx", folder / "model.plan", {graphs.ENTRY: SHAPES}, workspace_bytes=1 << 28)


def nothing(fraction: float | None, text: str) -> None:
    pass


def failure(call: Callable[[], object]) -> EngineError:
    with pytest.raises(EngineError) as caught:
        call()
    return caught.value


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], EngineProgram]:
    """An engine program whose process does what is written here."""

    def made(code: str) -> EngineProgram:
        return EngineProgram(python_program(tmp_path / "python", f"{TELL}{code}"))

    return made


def test_from_onnx_to_outputs(device: Device, tmp_path: Path) -> None:
    """Described, built and run through the interface that `ensure` uses, with progress and a log."""
    log, told = Log(tmp_path / "engine.log"), list[tuple[float | None, str]]()
    engines: Engines = EngineProgram(device(VERSION), log)
    described = engines.describe()
    assert (described.tensorrt, described.gpu, described.compute_capability) == (VERSION, "Orin", "8.7")
    assert described.free_bytes == 4 << 30
    built = engines.build(job(tmp_path), lambda fraction, text: told.append((fraction, text)))
    assert built.inputs[0].shape == (-1, 3, 4, 4)
    assert built.engine_bytes == (tmp_path / "model.plan").stat().st_size
    assert told[0] == (0.0, "reading model.onnx")
    ran = engines.run(tmp_path / "model.plan", [{graphs.ENTRY: feed(1)}, {graphs.ENTRY: feed(5)}], timed_runs=3)
    assert [outputs["output"].shape for outputs in ran.outputs] == [(1, 2, 4, 4), (5, 2, 4, 4)]
    assert np.allclose(ran.outputs[0]["output"], ran.outputs[1]["output"][:1])
    assert len(ran.milliseconds) == 3
    assert "[TensorRT I]" not in (tmp_path / "model.plan").read_text(errors="replace")
    assert "Building engine" in log.path.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.log", "model.onnx", "model.plan"]


def test_an_engine_is_replaced_and_not_overwritten(device: Device, tmp_path: Path) -> None:
    """Triton may have the one before mapped: its bytes stay, under whatever name still leads to them."""
    wanted = job(tmp_path)
    wanted.engine.write_bytes(b"the last good one")
    (tmp_path / "mapped").hardlink_to(wanted.engine)
    EngineProgram(device(VERSION)).build(wanted, nothing)
    assert (tmp_path / "mapped").read_bytes() == b"the last good one"
    assert wanted.engine.read_bytes() != b"the last good one"


def test_what_the_shell_adds_to_python_is_not_taken(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH, as ROS and others set it, brings no other NumPy into the program."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('another NumPy')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert EngineProgram(device(VERSION)).describe().tensorrt == VERSION


@pytest.mark.parametrize(
    ("fault", "kind", "part"),
    [("out_of_memory", "out_of_memory", "OutOfMemory"), ("killed", "out_of_memory", "lower the workspace limit")],
)
def test_a_build_that_fails_leaves_the_engine(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, kind: Kind, part: str
) -> None:
    """The one that is there stays, byte for byte, and nothing lies beside it."""
    wanted = job(tmp_path)
    wanted.engine.write_bytes(b"the last good one")
    monkeypatch.setenv("RECORDED_TENSORRT_FAULT", fault)
    exc = failure(lambda: EngineProgram(device(VERSION)).build(wanted, nothing))
    assert exc.kind == kind
    assert part in exc.detail
    assert wanted.engine.read_bytes() == b"the last good one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.plan"]


def test_a_build_that_takes_too_long_is_ended(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDED_TENSORRT_FAULT", "slow")
    engines, wanted = EngineProgram(device(VERSION), build_timeout_s=1.5), job(tmp_path)
    begun = time.monotonic()
    exc = failure(lambda: engines.build(wanted, nothing))
    assert exc.kind == "timeout"
    assert "1.5 s" in exc.detail
    assert time.monotonic() - begun < 20


def test_an_interrupt_ends_the_whole_group(fake: Callable[[str], EngineProgram], tmp_path: Path) -> None:
    """Ctrl-C while TensorRT builds: the process and what it has started are gone."""
    pids: list[int] = []
    program = fake(
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "tell(progress=None, text=f'{os.getpid()} {child.pid}'); time.sleep(60)"
    )

    def interrupt(fraction: float | None, text: str) -> None:
        pids.extend(map(int, text.split()))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            program.build(job(tmp_path), interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_a_build_does_not_outlive_a_builder_that_was_killed(device: Device, tmp_path: Path) -> None:
    """SIGKILL reaches only the builder; the closed pipe ends TensorRT's process."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom builder.engines.program import EngineProgram\n"
        "from builder.engines.jobs import BuildJob, ShapeRange\n"
        "folder, shapes = Path(sys.argv[2]), ShapeRange((1, 3, 4, 4), (2, 3, 4, 4), (8, 3, 4, 4))\n"
        "job = BuildJob(folder / 'model.onnx', folder / 'model.plan', {'input': shapes})\n"
        "EngineProgram(Path(sys.argv[1])).build(job, lambda _, text: print(text, flush=True))"
    )
    job(tmp_path)
    environment = {**os.environ, "RECORDED_TENSORRT_FAULT": "slow", "TMPDIR": str(tmp_path)}
    builder = subprocess.Popen(
        [sys.executable, "-c", code, str(device(VERSION)), str(tmp_path)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert builder.stdout is not None
    assert [builder.stdout.readline() for _ in range(2)] == ["reading model.onnx\n", "building\n"]
    children = Path(f"/proc/{builder.pid}/task/{builder.pid}/children").read_text().split()
    builder.kill()
    builder.wait()
    builder.stdout.close()
    assert len(children) == 1
    assert is_gone(int(children[0]))


@pytest.mark.parametrize(
    ("code", "kind", "part"),
    [
        ("os.kill(os.getpid(), 9)", "out_of_memory", "add swap"),
        ("os.abort()", "internal", "SIGABRT"),
        ("sys.stderr.write('last words\\n'); sys.exit(3)", "internal", "last words"),
        ("tell(error={'kind': 'no_gpu', 'detail': 'none here'}); sys.exit(1)", "no_gpu", "none here"),
        ("tell(error={'kind': 'of a later version', 'detail': 'x'}); sys.exit(1)", "internal", "x"),
        ("tell(result={'tensorrt': '10'})", "internal", "does not fit"),
        ("tell(result={'gpu': 'Orin'}); sys.exit(1)", "internal", "exit code 1"),
        ("print('chatter')", "internal", "exit code 0"),
    ],
)
def test_a_process_that_ends_badly(fake: Callable[[str], EngineProgram], code: str, kind: Kind, part: str) -> None:
    """A kind and a reason, for whatever it does."""
    exc = failure(fake(code).describe)
    assert exc.kind == kind
    assert part in exc.detail


def test_no_feed_is_refused(device: Device, tmp_path: Path) -> None:
    exc = failure(lambda: EngineProgram(device(VERSION)).run(tmp_path / "model.plan", []))
    assert (exc.kind, exc.detail) == ("bad_input", "engine: expected at least one feed, came none")


def test_an_engine_that_is_not_there(device: Device, tmp_path: Path) -> None:
    exc = failure(lambda: EngineProgram(device(VERSION)).run(tmp_path / "no.plan", [{graphs.ENTRY: feed()}]))
    assert exc.kind == "bad_input"
    assert "no.plan" in exc.detail


def test_where_the_device_python_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one given, the variable, then the usual places; what was named and is none is an error that names it."""
    named = python_program(tmp_path / "named", "")
    given = python_program(tmp_path / "given", "")
    monkeypatch.setenv(VARIABLE, str(named))
    assert device_python(given) == given
    assert device_python() == named
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    exc = failure(device_python)
    assert exc.kind == "no_tensorrt"
    assert "/nowhere/python" in exc.detail
    assert VARIABLE in exc.detail
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("builder.engines.program.PYTHONS", (tmp_path / "none", named))
    assert device_python() == named
    monkeypatch.setattr("builder.engines.program.PYTHONS", (tmp_path / "none",))
    assert failure(device_python).kind == "no_tensorrt"
    assert PYTHONS[-1] == Path("/usr/bin/python3")


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/models/model.plan"), "disk_full"),
        (PermissionError(errno.EACCES, "Permission denied", "/models/model.plan"), "bad_input"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA Error: 35. To figure out"), "no_gpu"),
        (RuntimeError("CUDA Error: 2. To figure out"), "out_of_memory"),
        (RuntimeError("anything else"), "internal"),
    ],
)
def test_faults_have_kinds(exc: Exception, kind: Kind) -> None:
    """Each one of those that the builder knows, with the file or the words it came with."""
    fault = fault_of(exc, Hearing(Telling(sys.stderr)))
    assert fault.kind == kind
    assert kind in KINDS
    assert getattr(exc, "filename", None) is None or exc.filename in fault.detail  # type: ignore[attr-defined]


def test_phases_within_phases_are_one_fraction() -> None:
    """As IProgressMonitor tells them: half of the first of two steps is a quarter, and it never shrinks."""
    told: list[float | None] = []

    class Kept(Telling):
        def progress(self, fraction: float | None, text: str) -> None:
            told.append(fraction)

    monitor = monitor_for(module_of(surface_of(VERSION)), Hearing(Kept(sys.stderr)))
    monitor.phase_start("build", None, 2)
    monitor.phase_start("tactics", "build", 4)
    for step in range(4):
        assert monitor.step_complete("tactics", step)
    monitor.phase_finish("tactics")
    monitor.phase_start("formats", "build", 2)
    monitor.step_complete("formats", 0)
    monitor.phase_finish("formats")
    monitor.phase_finish("build")
    assert told == [0.125, 0.25, 0.375, 0.5, 0.75]
