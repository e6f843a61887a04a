"""How `model.py` uses its threads, and how instances share them: a lock on one file, held here by two at once."""

import fcntl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from tests.gateway.serving import eventually
from tests.tiny_models import MODEL_PY, colour_graph


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`model.py`, without the Triton that it is imported by."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("triton_python_backend_utils"))
    module = ModuleType("model")
    SourceFileLoader("model", str(MODEL_PY)).exec_module(module)
    return module


@pytest.fixture
def instance(module: Any, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """One more instance of the same model."""
    graph = tmp_path / "model.onnx"
    graph.touch()
    with ExitStack() as files:

        def another() -> Any:
            turns = module.Turns(graph)
            files.enter_context(turns.file)
            return turns

        yield another


def test_pieces_run_at_the_same_time(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in each thread."""
    path = tmp_path / "model.onnx"
    onnx.save(colour_graph(), str(path))
    graph = module.Graph(path, {"threads": "2"}, ["scores"], is_batched=True)
    meeting = threading.Barrier(2)
    monkeypatch.setattr(graph, "_run", lambda *_, **__: meeting.wait(timeout=30))
    assert sorted(graph.runs([[], []], 2, fixed_batch=0)) == [0, 1]


def test_a_lone_request_is_alone(instance: Callable[[], Any], module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, whichever instance it comes to; what came with others is not, nor what comes soon after."""
    monkeypatch.setattr(module, "CROWD_S", 60.0)
    first, second = instance(), instance()
    with first.taken(by=1):
        pass
    fcntl.flock(second.file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is still taken
    fcntl.flock(second.file, fcntl.LOCK_UN)
    for each in (first, second, first):
        with each.taken(by=1) as is_alone:
            assert is_alone
    for count in (2, 1):
        with first.taken(by=count) as is_alone:
            assert not is_alone
    with second.taken(by=1) as is_alone:
        assert is_alone


def test_the_crowd_is_forgotten(instance: Callable[[], Any], module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after requests met, one that comes alone has all threads again."""
    monkeypatch.setattr(module, "CROWD_S", 0.0)
    turns = instance()
    with turns.taken(by=2) as is_alone:
        assert not is_alone
    with turns.taken(by=1) as is_alone:
        assert is_alone


def test_two_work_side_by_side(instance: Callable[[], Any]) -> None:
    """Where none is alone, none waits for the other."""
    first, second = instance(), instance()
    with first.taken(by=2) as is_alone:
        assert not is_alone
        fcntl.flock(second.file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # raises where it would have to wait
        fcntl.flock(second.file, fcntl.LOCK_UN)
        with second.taken(by=1) as is_alone:
            assert not is_alone


def test_others_wait_for_the_one_that_is_alone(instance: Callable[[], Any]) -> None:
    """It has all threads until it is done; then the other begins, with its part of them."""
    found: list[bool] = []
    first, second = instance(), instance()

    def other() -> None:
        with second.taken(by=1) as is_alone:
            found.append(is_alone)

    thread = threading.Thread(target=other)
    with first.taken(by=1) as is_alone:
        assert is_alone
        thread.start()
        eventually(lambda: second.crowd_until_s, within_s=30)
        thread.join(0.05)
        assert not found
    thread.join(30)
    assert found == [False]


def test_where_files_cannot_be_locked(
    instance: Callable[[], Any], module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No request fails for it: none is alone, and the log says so once."""

    def refuses(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", refuses)
    turns = instance()
    for _ in range(2):
        with turns.taken(by=1) as is_alone:
            assert not is_alone
    assert capsys.readouterr().err.count("cannot be locked ([Errno 37] No locks available)") == 1
