import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.frameworks.job import Job
from builder.progress import Log
from builder.worker import Worker
from tests.programs import python_program
from vision.errors import BuildError

ROOT = Path(__file__).parents[2]
TOLD = "import json, sys, os, time\ndef tell(**line):\n    print(json.dumps(line), flush=True)\n"

Program = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes a Python program stand where the frameworks' interpreter is looked for."""

    def make(code: str) -> Path:
        path = python_program(tmp_path / "python", f"{TOLD}{code}")
        monkeypatch.setenv("JETSERVE_FRAMEWORKS_PYTHON", str(path))
        return path

    return make


def job(folder: Path) -> Job:
    return Job("export", "openmmlab", {"config": "x.py"}, folder / "out", folder / "net.pth", photos=(Path("a.jpg"),))


class Told:
    def __init__(self) -> None:
        self.progress: list[tuple[int, int, str]] = []
        self.notes: list[str] = []

    def reached(self, done: int, total: int, text: str) -> None:
        self.progress.append((done, total, text))


def run(folder: Path, log: Log | None = None) -> Told:
    told = Told()
    Worker(log).run(job(folder), told.reached, told.notes.append)
    return told


def failed(folder: Path, log: Log | None = None) -> BuildError:
    with pytest.raises(BuildError) as caught:
        run(folder, log)
    return caught.value


def is_gone(pid: int) -> bool:
    for _ in range(400):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return os.getppid() != pid and not is_child(pid)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def is_child(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())


def test_progress_and_notes_are_passed_on(tmp_path: Path, program: Program) -> None:
    """Line by line, in their order; other lines are nobody's."""
    program("tell(progress=[0, 2], text='a'); tell(note='mind'); print('chatter'); tell(progress=[2, 2], text='b')")
    told = run(tmp_path)
    assert told.progress == [(0, 2, "a"), (2, 2, "b")]
    assert told.notes == ["mind"]


def test_the_job_is_the_last_argument(tmp_path: Path, program: Program) -> None:
    """A file that Job.from_file reads, in the checkout's own packages, hashes not random, threads bounded."""
    program(
        "from pathlib import Path\nfrom builder.frameworks.job import Job\njob = Job.from_file(Path(sys.argv[-1]))\n"
        "tell(note=repr(job)); tell(note=os.environ['PYTHONHASHSEED']); tell(note=os.environ['OMP_NUM_THREADS'])"
    )
    notes = run(tmp_path).notes
    assert notes[0] == repr(job(tmp_path))
    assert notes[1] == "0"
    assert 1 <= int(notes[2]) <= 8
    assert (tmp_path / "out").is_dir()


def test_an_error_keeps_its_step_and_its_words(tmp_path: Path, program: Program) -> None:
    """What the exporter says is what the person reads."""
    program("tell(error='expected 2 classes, came 3', step='check'); sys.exit(1)")
    exc = failed(tmp_path)
    assert (exc.step, str(exc)) == ("check", "check: expected 2 classes, came 3")


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("os.kill(os.getpid(), 9)", ["SIGKILL", "memory runs out"]),
        ("os.abort()", ["SIGABRT"]),
        ("sys.exit(3)", ["exit code 3"]),
        ('sys.stdout.write(\'{"error": "half\'); sys.stdout.flush(); os.kill(os.getpid(), 9)', ["SIGKILL"]),
        ("raise ImportError('no torch here')", ["exit code 1", "no torch here"]),
    ],
)
def test_a_process_that_dies_is_an_error_with_its_last_words(
    tmp_path: Path, program: Program, code: str, parts: list[str]
) -> None:
    """How it ended, and the last lines of its standard error, with a log and without."""
    program(f"sys.stderr.write('one\\ntwo\\n'); sys.stderr.flush()\n{code}")
    for log in (None, Log(tmp_path / "build.log")):
        exc = failed(tmp_path, log)
        assert exc.step == "export"
        for part in [*parts, "one", "two"]:
            assert part in exc.detail


def test_standard_error_goes_to_the_log(tmp_path: Path, program: Program) -> None:
    """Among the builder's own lines, which are not taken for the process's last words."""
    program("sys.stderr.write('warning of a framework\\n'); sys.stderr.flush(); sys.exit(2)")
    log = Log(tmp_path / "build.log")
    log.write("export: begun")
    assert "begun" not in failed(tmp_path, log).detail
    assert "warning of a framework\n" in (tmp_path / "build.log").read_text()


@pytest.mark.parametrize("value", [None, "/nowhere/python"])
def test_a_missing_environment_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Named, with the command."""
    monkeypatch.setattr("builder.worker.PYTHON", tmp_path / "none")
    monkeypatch.delenv("JETSERVE_FRAMEWORKS_PYTHON", raising=False)
    if value:
        monkeypatch.setenv("JETSERVE_FRAMEWORKS_PYTHON", value)
    assert "make setup-frameworks" in failed(tmp_path).detail


FAMILY = (
    "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "tell(note=str(os.getpid())); tell(note=str(child.pid)); time.sleep(60)"
)


def test_an_interrupt_ends_the_whole_family(tmp_path: Path, program: Program) -> None:
    """Ctrl-C here ends the job and what it has started, and leaves no zombie."""
    program(FAMILY)
    pids: list[int] = []

    def note(text: str) -> None:
        pids.append(int(text))
        if len(pids) == 2:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            Worker().run(job(tmp_path), lambda *_: None, note)
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(is_gone(pid) for pid in pids)


def test_a_job_does_not_outlive_a_builder_that_was_killed(tmp_path: Path, program: Program) -> None:
    """SIGKILL reaches only the builder; the closed pipe ends the job and what it has started."""
    program(f"import threading\nfrom builder.frameworks.__main__ import end_with_builder\n"
            f"threading.Thread(target=end_with_builder, daemon=True).start()\n{FAMILY}")  # fmt: skip
    code = (
        "import sys; from pathlib import Path\n"
        "from builder.worker import Worker; from builder.frameworks.job import Job\n"
        "job = Job('export', 'x', {}, Path(sys.argv[1]), None)\n"
        "Worker().run(job, lambda *_: None, lambda text: print(text, flush=True))"
    )
    builder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # where a killed builder leaves its job file
        stdout=subprocess.PIPE,
        text=True,
    )
    assert builder.stdout is not None
    pids = [int(builder.stdout.readline()) for _ in range(2)]
    builder.kill()
    builder.communicate()
    assert all(is_gone(pid) for pid in pids)
