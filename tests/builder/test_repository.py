import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.publishing import repository
from builder.publishing.repository import checked_name, publish, served_version, versions
from tests.builder.conftest import snapshot
from tests.builder.versions import files
from vision.errors import BuildError

PUBLISHER = """
import os, signal, sys
from pathlib import Path
from builder.publishing.repository import publish
from tests.builder.versions import files

repository, stop = Path(sys.argv[1]), int(sys.argv[2])
seen, served = 0, str(repository / "toy" / "config.pbtxt")

def count(event, arguments):
    global seen
    if event == "open" and str(arguments[0]) == served and arguments[2] & os.O_ACCMODE:
        os._exit(3)  # what is served is replaced, never written to
    watched = event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "tempfile.mkdtemp")
    if watched and any(str(argument).startswith(str(repository)) for argument in arguments):
        seen += 1
        if seen == stop:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
publish(repository, "toy", lambda version: files(version, b"second"))
"""


@pytest.mark.parametrize("name", ["balloon", "Balloon-2_x", "0"])
def test_names_that_are_folders_urls_and_models(name: str) -> None:
    """Letters, digits, hyphen, underscore."""
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-x", ".hidden", "ä", "a\n", "x" * 129, "../up"])
def test_other_names_are_refused(name: str) -> None:
    """Nothing that could leave the repository, hide in it, or look like an option."""
    with pytest.raises(BuildError, match="--name"):
        checked_name(name)


def test_a_new_model_appears_whole(tmp_path: Path) -> None:
    """The folder comes with its version and its config, readable for a server under another user."""
    result = publish(tmp_path / "models", "toy", files)
    assert (result.version, result.is_new) == (1, True)
    assert set(snapshot(tmp_path / "models")) == {
        "toy",
        "toy/config.pbtxt",
        *(f"toy/1{name}" for name in ("", "/model.onnx", "/contract.json", "/config.pbtxt")),
    }
    assert (tmp_path / "models" / "toy").stat().st_mode & 0o755 == 0o755


def test_versions_are_kept_and_the_config_switches(tmp_path: Path) -> None:
    """Each publish adds one and serves it; the ones before stay as they were."""
    publish(tmp_path, "toy", files)
    before = snapshot(tmp_path / "toy" / "1")
    assert publish(tmp_path, "toy", files).version == 2
    assert snapshot(tmp_path / "toy" / "1") == before
    assert versions(tmp_path / "toy") == [1, 2]
    assert served_version(tmp_path / "toy") == 2
    assert (tmp_path / "toy" / "config.pbtxt").read_bytes() == files(2)["config.pbtxt"]


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    """After a switch back to 1, and with a gap, the next version is above all there are."""
    for _ in range(3):
        publish(tmp_path, "toy", files)
    (tmp_path / "toy" / "config.pbtxt").write_bytes(files(1)["config.pbtxt"])
    (tmp_path / "toy" / "notes").mkdir()
    assert publish(tmp_path, "toy", files).version == 4


def test_the_same_is_not_published_twice(tmp_path: Path) -> None:
    """What is served already is left alone."""
    publish(tmp_path, "toy", files)
    before = snapshot(tmp_path)
    result = publish(tmp_path, "toy", files, lambda model, version: version == 1)
    assert (result.version, result.is_new) == (1, False)
    assert snapshot(tmp_path) == before


def test_papers_of_the_same_are_replaced(tmp_path: Path) -> None:
    """What lies beside the served version is new, and nothing else; interrupted or full, it is as it was."""
    publish(tmp_path, "toy", files)
    before = snapshot(tmp_path)
    result = publish(tmp_path, "toy", files, lambda model, version: True, {"parity.json": b"new"})
    assert (result.version, result.is_new) == (1, False)
    assert (tmp_path / "toy" / "1" / "parity.json").read_bytes() == b"new"
    after = snapshot(tmp_path)
    assert {name: after[name] for name in after if not name.endswith("parity.json")} == {
        name: before[name] for name in before if not name.endswith("parity.json")
    }


def test_a_full_disk_leaves_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written aside, all of them, before the first is put in its place."""
    publish(tmp_path, "toy", files)
    before = snapshot(tmp_path)
    real, written = repository._write, 0

    def full(*arguments: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(repository, "_write", full)
    with pytest.raises(BuildError, match="No space left"):
        publish(tmp_path, "toy", files, lambda model, version: True, {"a.json": b"new", "b.json": b"new"})
    assert snapshot(tmp_path) == before


def test_a_model_of_other_making_is_not_touched(tmp_path: Path) -> None:
    """A config.pbtxt that names no single version is someone else's."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "config.pbtxt").write_text('name: "toy"\n')
    before = snapshot(tmp_path)
    with pytest.raises(BuildError, match="another --name"):
        publish(tmp_path, "toy", files)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("failing", "call"), [*(("_write", call) for call in range(1, 5)), *(("_sync", call) for call in range(1, 4))]
)
def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, call: int) -> None:
    """Whichever write before the switch fails, the repository is byte for byte as it was, and the message says why."""
    publish(tmp_path, "toy", files)
    before = snapshot(tmp_path)
    real, calls = getattr(repository, failing), 0

    def full(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(repository, failing, full)
    with pytest.raises(BuildError, match="No space left"):
        publish(tmp_path, "toy", files)
    assert snapshot(tmp_path) == before


def killed_at(folder: Path, stop: int) -> bool:
    """Publish in another process that kills itself before its `stop`-th step on disk; whether it got that far."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PUBLISHER, folder, str(stop)], cwd=root, check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.parametrize("is_first", [True, False])
def test_a_publish_killed_anywhere_leaves_the_served_version(tmp_path: Path, is_first: bool) -> None:
    """SIGKILL before every single step on disk: the old version is served whole or the new one, and the next works."""
    stop, outcomes = 0, set()
    while True:
        stop += 1
        folder = tmp_path / str(stop)
        folder.mkdir()
        if not is_first:
            publish(folder, "toy", lambda version: files(version, b"first"))
        was_killed = killed_at(folder, stop)
        served = served_version(folder / "toy")
        outcomes.add(served)
        if served is not None:
            content = b"first" if served == 1 and not is_first else b"second"
            whole = {name: (folder / "toy" / str(served) / name).read_bytes() for name in files(served)}
            assert whole == files(served, content)
            assert (folder / "toy" / "config.pbtxt").read_bytes() == files(served)["config.pbtxt"]
        result = publish(folder, "toy", lambda version: files(version, b"third"))
        assert served_version(folder / "toy") == result.version
        assert (result.folder / str(result.version) / "model.onnx").read_bytes() == b"third"
        assert not list(folder.glob(".*")), "what the killed one left is swept"
        if not was_killed:
            break
    assert stop > 10, "the kill points are where the work is"
    assert outcomes == ({None, 1} if is_first else {1, 2})
