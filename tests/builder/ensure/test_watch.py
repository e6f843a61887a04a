"""`--watch` and `--then`: artefacts that arrive later, and what comes after."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from builder.commands import ensure as command
from builder.ensure import watching
from builder.ensure.order import EngineRefused, Loaded, Order, Outcome
from builder.ensure.watching import Watch
from builder.ensure.workplace import workplace
from builder.progress import Progress
from builder.publishing.repository import served_version
from tests.builder.ensure.conftest import Jetson
from vision.errors import BackendFailure, BackendUnavailable, BuildError

ROOT = Path(__file__).parents[3]


class Triton:
    """What is told to load. It has version 1 of `toy`."""

    address = "http://triton"

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.asked: list[str] = []
        self.has = {"toy": Loaded(1)}
        self.raises: Exception | None = None

    def load(self, name: str) -> None:
        if self.raises is not None:
            raise self.raises
        self.asked.append(name)
        self.has[name] = Loaded(served_version(self.repository / name))

    def loaded(self, name: str) -> Loaded:
        if isinstance(self.raises, BackendUnavailable):
            raise self.raises
        return self.has.get(name, Loaded(None))


class Watched:
    """A watch that is looked through by hand."""

    def __init__(self, jetson: Jetson, watch: Watch, triton: Triton, said: list[str]) -> None:
        self.jetson, self.watch, self.triton, self.said = jetson, watch, triton, said
        self._seen: dict[str, object] = {}

    def looks(self, times: int) -> list[str]:
        """What was said meanwhile."""
        self.said.clear()
        for _ in range(times):
            self._seen = self.watch.look(self._seen)
        return list(self.said)


@pytest.fixture
def watched(serving: Jetson, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A watch on a device that serves version 1 of `toy`, and a Triton of which it is told."""
    triton, said = Triton(serving.repository), list[str]()
    monkeypatch.setattr(command, "TritonControl", lambda address: triton)
    order = Order(serving.artefacts, serving.repository)
    with workplace(serving.work) as place:
        progress = Progress(lambda step, text: said.append(f"{step} {text}"))
        yield Watched(serving, Watch(command._pass_of(order, place, progress, triton.address)), triton, said)


def test_what_arrives_is_taken_when_it_is_still(watched: Watched, built: Path) -> None:
    """After two looks that are the same; Triton is told to load it, and nothing is done twice."""
    watched.looks(2)
    watched.jetson.receives(built / "second")
    watched.looks(1)
    assert watched.jetson.served() == 1
    watched.looks(1)
    assert watched.jetson.served() == 2
    assert watched.triton.asked == ["toy"]
    assert watched.looks(3) == []


def test_a_half_copied_artefact_is_waited_for(watched: Watched, built: Path) -> None:
    """It is said once, and taken when the rest is there."""
    watched.looks(2)
    golden = built / "second" / "toy" / "2" / "golden.npz"
    watched.jetson.receives(built / "second")
    (watched.jetson.artefacts / "toy" / "2" / "golden.npz").unlink()
    assert len([line for line in watched.looks(4) if "waits for the rest" in line]) == 1
    (watched.jetson.artefacts / "toy" / "2" / "golden.npz").write_bytes(golden.read_bytes())
    watched.looks(2)
    assert watched.jetson.served() == 2


def test_what_failed_is_not_tried_again_until_it_changes(watched: Watched, built: Path) -> None:
    """No hot loop: one attempt an artefact."""
    watched.looks(2)
    watched.jetson.receives(built / "second")
    watched.jetson.behaves(fail=["unsupported_operator", "Foo"])
    assert len([line for line in watched.looks(6) if "failed at" in line]) == 1
    watched.jetson.behaves()
    assert watched.looks(3) == []
    config = watched.jetson.artefacts / "toy" / "config.pbtxt"
    os.utime(config, (1, 1))
    watched.looks(2)
    assert watched.jetson.served() == 2


def test_a_shortage_is_tried_again_after_a_while(
    watched: Watched, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may be free later: a minute, and longer each time."""
    watched.looks(2)
    now = time.monotonic()
    monkeypatch.setattr("builder.ensure.watching.time.monotonic", lambda: now)
    watched.jetson.receives(built / "second")
    watched.jetson.behaves(memory=1)
    assert len([line for line in watched.looks(4) if "failed at" in line]) == 1
    now += watching.FIRST_RETRY_S
    assert len([line for line in watched.looks(2) if "failed at" in line]) == 1
    now += watching.FIRST_RETRY_S
    assert watched.looks(2) == []
    watched.jetson.behaves()
    now += watching.FIRST_RETRY_S
    watched.looks(1)
    assert watched.jetson.served() == 2


def test_a_disk_that_was_full_is_tried_again(watched: Watched, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only the engine program has found it full."""
    watched.looks(2)
    now = time.monotonic()
    monkeypatch.setattr("builder.ensure.watching.time.monotonic", lambda: now)
    watched.jetson.receives(built / "second")
    watched.jetson.behaves(fail=["disk_full", "no space left"])
    watched.looks(2)
    watched.jetson.behaves()
    now += watching.FIRST_RETRY_S
    watched.looks(1)
    assert watched.jetson.served() == 2


@pytest.mark.parametrize(
    ("fault", "looks", "said"), [(FileNotFoundError, 2, 0), (PermissionError, 9, 1), (PermissionError, 2, 2)]
)
def test_files_that_come_and_go_concern_their_model_alone(
    watched: Watched, built: Path, monkeypatch: pytest.MonkeyPatch, fault: type[OSError], looks: int, said: int
) -> None:
    """Renamed during a look: nothing is done twice. What cannot be read is looked into once, and when it can."""
    watched.jetson.receives(built / "first", "cls")
    watched.looks(2)
    real, faults = Path.lstat, [fault()] * looks

    def lstat(path: Path) -> os.stat_result:
        if path.parent.parent.name == "cls" and path.name == "model.onnx" and faults:
            raise faults.pop()
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    lines = watched.looks(6)
    assert [line for line in lines if "toy" in line] == []
    assert len([line for line in lines if "cls: version 1 fits" in line]) == said


def test_a_triton_that_is_not_there_yet_is_told_later(watched: Watched, built: Path) -> None:
    """What is published meanwhile is loaded once it answers."""
    watched.looks(2)
    watched.triton.raises = BackendUnavailable("starting")
    watched.jetson.receives(built / "second")
    watched.looks(3)
    assert (watched.jetson.served(), watched.triton.asked) == (2, [])
    watched.triton.raises = None
    watched.looks(2)
    assert watched.triton.asked == ["toy"]


@pytest.mark.parametrize("has", [Loaded(2), Loaded(None, is_unloaded=True)])
def test_what_triton_has_loaded_at_its_start_it_is_not_told_to_load(watched: Watched, built: Path, has: Loaded) -> None:
    """As in a container, where it begins with what the first pass has published; nor what was unloaded since."""
    watched.looks(2)
    watched.triton.raises = BackendUnavailable("starting")
    watched.jetson.receives(built / "second")
    watched.looks(3)
    watched.triton.raises = None
    watched.triton.has["toy"] = has
    assert watched.looks(2) == []
    assert watched.triton.asked == []


def test_what_triton_refuses_gives_way_to_what_it_has(watched: Watched, built: Path) -> None:
    """And not to what was served before that: a watch that was started again knows only of the start."""
    watched.looks(2)
    watched.triton.raises = BackendUnavailable("starting")
    for name, version in (("second", 2), ("first", 1)):
        watched.jetson.receives(built / name)
        watched.looks(3)
        assert watched.jetson.served() == version
    watched.triton.has["toy"] = Loaded(2)
    watched.triton.raises = EngineRefused("unexpected datatype")
    watched.watch.pass_of().load("toy", 1)
    assert watched.jetson.served() == 2


def test_an_engine_that_triton_refuses_at_its_start_gives_way_to_the_one_before(watched: Watched, built: Path) -> None:
    """Published before there was a Triton: it is marked, and the version before is served again."""
    watched.looks(2)
    watched.triton.raises = BackendUnavailable("starting")
    watched.jetson.receives(built / "second")
    watched.looks(3)
    assert watched.jetson.served() == 2
    watched.triton.raises = EngineRefused("unexpected datatype")
    assert any("Triton refuses version 2" in line for line in watched.looks(1))
    assert watched.jetson.served() == 1
    assert (watched.jetson.repository / "toy" / "2" / "refused.txt").read_text() == "unexpected datatype\n"


@pytest.mark.parametrize("fault", ["index", "config"])
def test_what_cannot_be_asked_about_at_its_start_does_not_end_the_watch(
    watched: Watched, built: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A Triton that answers no index, a configuration of other making: it is said, and what comes later is taken."""
    watched.looks(2)
    watched.triton.raises = BackendUnavailable("starting")
    watched.jetson.receives(built / "second")
    watched.looks(3)
    watched.triton.raises = None
    config, real = watched.jetson.repository / "toy" / "config.pbtxt", watched.triton.loaded
    before = config.read_bytes()
    if fault == "index":
        monkeypatch.setattr(watched.triton, "loaded", lambda name: _raise(BackendFailure("no index")))
    else:
        config.write_text("of other making")
    assert [line for line in watched.looks(2) if "Triton is not told to load it" in line]
    monkeypatch.setattr(watched.triton, "loaded", real)
    config.write_bytes(before)
    watched.jetson.receives(built / "first", "cls")
    watched.looks(2)
    assert watched.triton.asked == ["cls"]


def test_a_version_that_is_gone_is_not_gone_back_to(watched: Watched, built: Path) -> None:
    """Triton has it in memory still, and the disk has not: the refused one is marked, and stays what is named."""
    watched.triton.raises = BackendUnavailable("starting")
    watched.jetson.receives(built / "second")
    watched.looks(2)
    shutil.rmtree(watched.jetson.repository / "toy" / "1")
    watched.triton.raises = EngineRefused("unexpected datatype")
    assert any("Triton refuses version 2" in line for line in watched.looks(1))
    assert watched.jetson.served() == 2
    assert (watched.jetson.repository / "toy" / "2" / "refused.txt").exists()


@pytest.mark.parametrize(("has", "asked"), [(Loaded(1), 1), (Loaded(None), 1), (Loaded(2), 0), (Loaded(None, True), 0)])
def test_an_ensure_that_was_ended_before_it_could_tell_triton_is_made_up_for(
    watched: Watched, built: Path, has: Loaded, asked: int
) -> None:
    """Published, and not loaded: the next run has Triton load it, unless it has it, or somebody has unloaded it."""
    watched.triton.raises = BackendUnavailable("ended here, or before it was told")
    watched.jetson.receives(built / "second")
    watched.looks(2)
    assert watched.jetson.served() == 2
    watched.triton.raises = None
    watched.triton.has["toy"] = has
    outcome = watched.watch.pass_of().named("toy")
    assert outcome.is_served
    assert watched.triton.asked == ["toy"] * asked


def test_what_says_nothing_of_the_engine_marks_none(
    watched: Watched, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory at this moment, say: it stays published, and is loaded after a while."""
    watched.looks(2)
    now = time.monotonic()
    monkeypatch.setattr("builder.ensure.watching.time.monotonic", lambda: now)
    watched.triton.raises = BackendFailure("out of memory")
    watched.jetson.receives(built / "second")
    assert any("Triton does not load it: out of memory" in line for line in watched.looks(2))
    assert watched.jetson.served() == 2
    assert not (watched.jetson.repository / "toy" / "2" / "refused.txt").exists()
    watched.triton.raises = None
    assert watched.looks(2) == []
    now += watching.FIRST_RETRY_S
    watched.looks(1)
    assert watched.triton.asked == ["toy"]


def test_what_triton_refuses_is_not_served(watched: Watched, built: Path) -> None:
    """The version before is served again, and the refused one not tried again, at this start or the next."""
    watched.looks(2)
    watched.triton.raises = EngineRefused("unexpected datatype")
    watched.jetson.receives(built / "second")
    assert any("Triton refuses version 2: unexpected datatype" in line for line in watched.looks(2))
    assert watched.jetson.served() == 1
    watched.triton.raises = None
    outcome = watched.watch.pass_of().named("toy")
    assert isinstance(outcome, Outcome)
    assert not outcome.is_served
    assert "1 is served" in outcome.text
    assert watched.jetson.served() == 1


def test_what_triton_refuses_is_not_served_for_want_of_a_mark(watched: Watched, built: Path) -> None:
    """On a full disk, say: the version before is served all the same."""
    watched.looks(2)
    watched.jetson.receives(built / "second")
    refused = watched.jetson.repository / "toy" / "2" / "refused.txt"

    def load(name: str) -> None:
        refused.mkdir()
        raise EngineRefused("unexpected datatype")

    watched.triton.load = load  # type: ignore[method-assign]
    watched.looks(2)
    assert refused.is_dir()
    assert watched.jetson.served() == 1


def test_a_refused_engine_with_none_before_it_is_said_to_be_so(watched: Watched, built: Path) -> None:
    """And is not built again and again."""
    watched.triton.raises = EngineRefused("unexpected datatype")
    watched.jetson.receives(built / "first", "cls")
    watched.looks(2)
    outcome = watched.watch.pass_of().named("cls")
    assert not outcome.is_served
    assert "there was none before it" in outcome.text
    assert watched.jetson.served("cls") == 1


def test_then_becomes_the_command_and_a_watch_ends_with_it(serving: Jetson, built: Path) -> None:
    """As in a container: one process id from the first line to the server, and a watch beside it while it runs."""
    serving.receives(built / "first", "cls")
    (serving.artefacts / "wrong").mkdir()
    then = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "builder",
            *serving.arguments,
            "--watch",
            "--every",
            "0.2",
            "--then",
            sys.executable,
            "-c",
            then,
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line.strip().isdigit():
                break
        assert int(lines[-1]) == process.pid
        assert serving.served("cls") == 1
        serving.receives(built / "second")
        try:
            _until(lambda: served_version(serving.repository / "toy") == 2)
            process.stdin.close()
            assert process.wait(20) == 0
            _until(lambda: not _is_held(serving.work))
            lines += process.stdout
        finally:
            if _is_held(serving.work):
                os.killpg(process.pid, signal.SIGKILL)
    assert len([line for line in lines if "wrong: waits" in line]) == 1  # tried by the first pass, and not by the watch


def test_then_comes_whatever_failed(tmp_path: Path) -> None:
    """No artefacts, and no TensorRT: the engines that are there are better than no server."""
    places = ["--from", str(tmp_path / "nowhere"), "--repository", str(tmp_path / "models")]
    then = ["--watch", "--then", sys.executable, "-c", "print('up')"]
    done = subprocess.run(
        [sys.executable, "-m", "builder", "ensure", *places, *then],
        cwd=ROOT,
        env={**os.environ, "JETSERVE_DEVICE_PYTHON": "/nowhere/python"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "up\n")
    assert "starts with what is in" in done.stderr
    assert "nobody watches" in done.stderr


def _raise(exc: Exception) -> NoReturn:
    raise exc


def _until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_held(work: Path) -> bool:
    """Whether an ensure is at work there."""
    try:
        with workplace(work, patience_s=0):
            return False
    except BuildError:
        return True
