"""What somebody at the device has decided, `ensure` does not undo: settings, and rollbacks."""

import json
import shutil
from pathlib import Path

import pytest

from builder.__main__ import main
from builder.ensure.decision import strays
from builder.publishing import repository
from builder.publishing.repository import served_version
from tests.builder.conftest import snapshot
from tests.builder.ensure.conftest import Jetson
from tests.builder.ensure.test_passport import Board


def test_settings_stay_over_new_engines(serving: Jetson, built: Path) -> None:
    """What `configure` has set is served with the next version, and the one before; and is no reason to publish."""
    toy, place = serving.repository / "toy", ["--repository", str(serving.repository)]
    assert main(["configure", "toy", "--instances", "3", *place]) == 0
    before = snapshot(serving.repository)
    assert serving.ensure() == 0
    assert snapshot(serving.repository) == before
    serving.receives(built / "second")
    assert serving.ensure() == 0
    assert (served_version(toy), "count: 3" in (toy / "config.pbtxt").read_text()) == (2, True)
    assert main(["configure", "toy", "--queue-delay-us", "500", *place]) == 0
    assert main(["rollback", "toy", *place]) == 0
    assert serving.ensure() == 0
    text = (toy / "config.pbtxt").read_text()
    assert (served_version(toy), "count: 3" in text, "microseconds: 500" in text) == (1, True, True)
    assert main(["configure", "toy", "--reset", *place]) == 0
    assert serving.served() == 1


def test_a_rollback_is_marked_before_it_can_be_seen(
    serving: Jetson, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that looks between the two would switch back."""
    serving.receives(built / "second")
    serving.ensure()
    mark, seen, real = serving.repository / "toy" / "2" / "rolled-back.txt", list[bool](), repository._replace_files

    def replace_files(*arguments: object) -> None:
        seen.append(mark.exists())
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(repository, "_replace_files", replace_files)
    assert main(["rollback", "toy", "--repository", str(serving.repository)]) == 0
    assert seen == [True]


def test_a_rollback_to_an_engine_that_cannot_run_is_undone(serving: Jetson, built: Path) -> None:
    """One of another TensorRT: Triton could serve nothing, and the later one fits."""
    serving.receives(built / "second")
    serving.ensure()
    passport = serving.repository / "toy" / "1" / "passport.json"
    passport.write_text(json.dumps({**json.loads(passport.read_text()), "tensorrt": "8.6.2"}))
    assert main(["rollback", "toy", "--repository", str(serving.repository)]) == 0
    serving.behaves(fail=["internal", "nothing is to be built"])
    assert serving.ensure() == 0
    assert serving.served() == 2


def test_what_is_being_published_is_no_model(serving: Jetson) -> None:
    """By another process, or by one that was killed: a dry run, which sweeps nothing, does not speak of it."""
    shutil.copytree(serving.repository / "toy", serving.repository / ".staging-x")
    board = Board(gpu="Xavier")
    assert [name for name, _ in strays(serving.repository, [], board)] == ["toy"]
