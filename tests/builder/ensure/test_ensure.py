"""What is served after `ensure`, whatever the device's TensorRT does."""

import errno
import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.__main__ import main
from builder.devices.machine import memory_of
from builder.ensure.preflight import DISK_SLACK_BYTES
from builder.ensure.workplace import KEPT_LOGS, Workplace, workplace
from builder.golden import golden_from_file
from builder.publishing import repository
from builder.publishing.repository import switch
from tests.builder.conftest import snapshot
from tests.builder.ensure.conftest import Jetson

Usage = namedtuple("Usage", "total used free")


def test_engines_are_built_proven_and_served(jetson: Jetson, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole version each, with its passport; a second run does nothing, and says so."""
    jetson.receives(built / "first", "cls")
    assert jetson.ensure() == 0
    assert (jetson.served("toy"), jetson.served("cls")) == (1, 1)
    passport = json.loads((jetson.repository / "toy" / "1" / "passport.json").read_text())
    assert (passport["tensorrt"], passport["gpu"], passport["precision"]) == ("10.3.0", "Orin", "fp32")
    assert passport["profiles"] == {"input": {"min": [1, 32, 48, 3], "opt": [1, 32, 48, 3], "max": [8, 32, 48, 3]}}
    assert "images agree" in passport["proof"]
    assert list((jetson.work / "timing").iterdir()) == [jetson.work / "timing" / "10.3.0-Orin-8.7.cache"]
    before = snapshot(jetson.repository)
    assert "toy: version 1 is to be served" in capsys.readouterr().out
    assert jetson.ensure() == 0
    assert "toy: version 1 fits" in capsys.readouterr().out
    assert snapshot(jetson.repository) == before
    assert jetson.is_tidy()


def test_a_new_artefact_is_built_and_the_other_left(serving: Jetson, built: Path) -> None:
    """A model more; nothing of the other is touched, and so it is when that one changes."""
    before = snapshot(serving.repository / "toy")
    serving.receives(built / "first", "cls")
    assert serving.ensure() == 0
    assert snapshot(serving.repository / "toy") == before
    before = snapshot(serving.repository / "cls")
    serving.receives(built / "second")
    assert serving.ensure() == 0
    assert (serving.served("toy"), serving.served("cls")) == (2, 1)
    assert snapshot(serving.repository / "cls") == before


def test_another_tensorrt_builds_engines_anew(serving: Jetson, capsys: pytest.CaptureFixture[str]) -> None:
    """After an upgrade of JetPack; the reason is told."""
    serving.behaves(tensorrt="10.7.0")
    assert serving.ensure() == 0
    assert (
        "version 1 does not fit: it was built with TensorRT 10.3.0, and this device has 10.7.0"
        in capsys.readouterr().out
    )
    assert serving.served() == 2


def test_an_artefact_that_goes_back_is_switched_to(serving: Jetson, built: Path) -> None:
    """The engine of the earlier version lies there and fits: nothing is built."""
    serving.receives(built / "second")
    serving.ensure()
    switch(serving.artefacts, "toy", lambda model: 1)
    serving.behaves(fail=["internal", "nothing is to be built"])
    assert serving.ensure() == 0
    assert serving.served() == 1


def test_a_rollback_on_the_device_is_not_undone(
    serving: Jetson, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the next ensure, after a restart; by `rollback --to`, or a newer artefact."""
    serving.receives(built / "second")
    serving.ensure()
    assert main(["rollback", "toy", "--repository", str(serving.repository)]) == 0
    capsys.readouterr()
    assert serving.ensure() == 0
    assert "version 2 was rolled back, and 1 is served" in capsys.readouterr().out
    assert serving.served() == 1
    assert main(["rollback", "toy", "--to", "2", "--repository", str(serving.repository)]) == 0
    assert serving.ensure() == 0
    assert serving.served() == 2


def test_settings_alone_need_no_new_engine(serving: Jetson) -> None:
    """A new contract or config.pbtxt with the same ONNX: the engine is proven again and published with it."""
    config = serving.artefacts / "toy" / "1" / "config.pbtxt"
    text = config.read_text().replace("count: 1", "count: 2")
    for path in (config, serving.artefacts / "toy" / "config.pbtxt"):
        path.write_text(text)
    serving.behaves(fail=["internal", "nothing is to be built"])
    assert serving.ensure() == 0
    assert serving.served() == 2
    assert "count: 2" in (serving.repository / "toy" / "config.pbtxt").read_text()
    engines = [(serving.repository / "toy" / number / "model.plan").read_bytes() for number in "12"]
    assert engines[0] == engines[1]


def test_new_golden_outputs_are_held_against_the_engine_that_is_there(serving: Jetson) -> None:
    """A stricter tolerance, or other photos: proven again, with no new engine; and refused where it does not hold."""
    path = serving.artefacts / "toy" / "1" / "golden.npz"
    golden = golden_from_file(path)
    path.write_bytes(replace(golden, photos=golden.photos[:1]).to_bytes())
    serving.behaves(fail=["internal", "nothing is to be built"])
    assert serving.ensure() == 0
    assert serving.served() == 2
    wrong = {name: value + 1 for name, value in golden.photos[0].outputs.items()}
    path.write_bytes(replace(golden, photos=(replace(golden.photos[0], outputs=wrong),)).to_bytes())
    assert serving.ensure() == 1
    assert serving.served() == 2


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ({"scale": 1.05}, ["failed at proof", "answers otherwise", "tolerance"]),
        ({"scale_batch": 1.05}, ["failed at proof", "in a batch of"]),
        ({"loses": ["labels", "output"]}, ["failed at", "missing"]),
        ({"fail": ["unsupported_operator", "node 'a' (Foo)"]}, ["failed at engine", "node 'a' (Foo)"]),
        ({"fail": ["disk_full", "no space left"]}, ["failed at engine", "no space left"]),
        ({"memory": 1}, ["memory ran out with the least workspace"]),
        ({"built_by": "10.7.0"}, ["10.7.0 built it", "this device has 10.3.0", "JETSERVE_DEVICE_PYTHON"]),
    ],
)
def test_what_fails_leaves_the_last_good_version(
    serving: Jetson, built: Path, behaviour: dict[str, Any], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong answers, no memory, no disk: exit code 1, the reason, and the repository byte for byte as it was."""
    before = snapshot(serving.repository)
    serving.receives(built / "second")
    serving.behaves(**behaviour)
    capsys.readouterr()
    assert serving.ensure("--workspace", "64") == 1
    out = capsys.readouterr().out
    for word in told:
        assert word in out
    assert "version 1 is served still" in out
    assert snapshot(serving.repository) == before
    assert serving.is_tidy()
    serving.behaves()
    assert serving.ensure() == 0
    assert serving.served() == 2


def test_a_failure_leaves_the_other_models_to_be_built(jetson: Jetson, built: Path) -> None:
    """One whose ONNX is damaged, and one that is whole."""
    jetson.receives(built / "first", "cls")
    (jetson.artefacts / "cls" / "1" / "model.onnx").write_bytes(b"half")
    assert jetson.ensure() == 1
    assert jetson.served("toy") == 1
    assert not (jetson.repository / "cls").exists()


def test_a_name_that_no_model_can_have_is_told(jetson: Jetson, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing more is to come: it is left out, with what to do, and the others are built."""
    (jetson.artefacts / "yolo.v8" / "1").mkdir(parents=True)
    assert jetson.ensure() == 1
    assert "yolo.v8: is left out: its name cannot be a model's" in (said := capsys.readouterr().out)
    assert "rename the folder" in said
    assert jetson.served() == 1


@pytest.mark.parametrize(
    "missing",
    [
        "1/golden.npz",
        "1/model.onnx",
        "1/contract.json",
        "1/config.pbtxt",
        "config.pbtxt",
        "1/build.json",
        "1/parity.json",
    ],
)
def test_a_half_copied_artefact_waits_for_the_rest(
    jetson: Jetson, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever file is not there yet, or not whole; nothing is built of it, and then it is."""
    path = jetson.artefacts / "toy" / missing
    whole = path.read_bytes()
    for half in (None, whole[: len(whole) // 8]):
        path.unlink(missing_ok=True)
        if half is not None:
            path.write_bytes(half)
        assert jetson.ensure() == 1
        assert "toy: waits for the rest" in capsys.readouterr().out
        assert not (jetson.repository / "toy").exists()
    path.write_bytes(whole)
    assert jetson.ensure() == 0


def test_memory_that_runs_out_lowers_the_workspace(jetson: Jetson, capsys: pytest.CaptureFixture[str]) -> None:
    """By half until it is enough; the passport says what it was built with."""
    jetson.behaves(memory=300 << 20)
    assert jetson.ensure() == 0
    assert "memory ran out with a workspace of 512 MiB" in capsys.readouterr().out
    assert json.loads((jetson.repository / "toy" / "1" / "passport.json").read_text())["workspace_bytes"] == 256 << 20


def test_little_memory_lowers_the_workspace_or_refuses(
    jetson: Jetson, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is built: the kernel would kill somebody otherwise."""
    short: dict[str, int] = {}
    monkeypatch.setattr("builder.commands.ensure.memory_of", lambda tree: memory_of(tree).model_copy(update=short))
    short["available_bytes"] = 900 << 20
    assert jetson.ensure() == 1
    out = capsys.readouterr().out
    assert "building it needs about 960 MiB of memory, and 900 MiB are available" in out
    assert "swap" in out
    short["available_bytes"] = 1200 << 20
    assert jetson.ensure() == 0
    assert "workspace 303 MiB" in capsys.readouterr().out


def test_a_full_disk_is_found_before(jetson: Jetson, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine is begun that would not fit."""
    monkeypatch.setattr("builder.commands.ensure.shutil.disk_usage", lambda folder: Usage(10**9, 10**9, 10**6))
    assert jetson.ensure() == 1
    assert not list(jetson.repository.iterdir())
    assert not (jetson.work / "timing").exists()


@pytest.mark.parametrize("point", [0, 4, 7])
def test_a_disk_that_fills_up_while_publishing_leaves_the_last_good_version(
    serving: Jetson, built: Path, point: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the engine, at a paper beside it, at the last file, `config.pbtxt`."""
    before = snapshot(serving.repository)
    serving.receives(built / "second")
    written, real = list[str](), repository._write

    def write(path: Path, *arguments: Any) -> None:
        written.append(path.name)
        if len(written) > point:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, *arguments)

    monkeypatch.setattr(repository, "_write", write)
    assert serving.ensure() == 1
    assert len(written) == point + 1
    assert "No space left on device; the version served before is untouched" in capsys.readouterr().out
    assert snapshot(serving.repository) == before
    assert serving.is_tidy()
    monkeypatch.setattr(repository, "_write", real)
    assert serving.ensure() == 0
    assert serving.served() == 2


def test_the_disk_must_hold_the_engine_twice(jetson: Jetson, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the scratch and among the models, where both are on one file system."""
    onnx_bytes = (jetson.artefacts / "toy" / "1" / "model.onnx").stat().st_size
    free = DISK_SLACK_BYTES + 3 * onnx_bytes
    monkeypatch.setattr("builder.commands.ensure.shutil.disk_usage", lambda folder: Usage(10**9, 10**9, free))
    assert jetson.ensure() == 1
    free += onnx_bytes
    assert jetson.ensure() == 0


def test_an_engine_that_was_changed_is_built_anew(serving: Jetson, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad disk, or somebody's hand: its hash is not its passport's."""
    plan = serving.repository / "toy" / "1" / "model.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    capsys.readouterr()
    assert serving.ensure() == 0
    assert "not the file that its passport is of" in capsys.readouterr().out
    assert serving.served() == 2


def test_what_is_served_without_an_artefact_is_compared_with_the_device(
    serving: Jetson, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays as it is; where its engine does not fit, that is told, and the exit code is 1."""
    shutil.rmtree(serving.artefacts / "toy")
    assert serving.ensure() == 0
    serving.behaves(gpu="Xavier", compute_capability="7.2")
    assert serving.ensure() == 1
    assert "toy: it was built for the GPU Orin" in capsys.readouterr().out
    assert serving.served() == 1


def test_models_of_other_making_are_left_alone(jetson: Jetson, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One beside, and one under an artefact's own name; the others get their engines."""
    jetson.receives(built / "first", "cls")
    for name in ("toy", "alien"):
        (jetson.repository / name).mkdir(parents=True)
        (jetson.repository / name / "config.pbtxt").write_text(f'name: "{name}"\n')
    assert jetson.ensure() == 1
    assert "toy: failed at publish" in capsys.readouterr().out
    assert (jetson.repository / "toy" / "config.pbtxt").read_text() == 'name: "toy"\n'
    assert jetson.served("cls") == 1


def test_one_ensure_at_a_time(
    jetson: Jetson, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second says who is at work."""
    monkeypatch.setattr("builder.ensure.workplace.PATIENCE_S", 0.2)
    with workplace(jetson.work):
        assert jetson.ensure() == 1
    assert "another ensure (process" in capsys.readouterr().err


def test_leftovers_are_swept(serving: Jetson) -> None:
    """Of a process that was killed: scratch, and what it was publishing."""
    (serving.work / "scratch" / "left").mkdir(parents=True)
    (serving.repository / ".staging-left").mkdir()
    assert serving.ensure() == 0
    assert serving.is_tidy()


def test_old_logs_go_with_their_pages(tmp_path: Path) -> None:
    """A restart an hour with a model that fails its proof fills no disk."""
    for number in range(KEPT_LOGS + 5):
        log = Workplace(tmp_path).log()
        log.parent.mkdir(exist_ok=True)
        log.touch()
        log.with_suffix(f".toy{number}.proof.html").touch()
    assert len(list((tmp_path / "logs").glob("*.log"))) == KEPT_LOGS
    assert len(list((tmp_path / "logs").glob("*.html"))) == KEPT_LOGS


def test_inspect_and_list_know_engines(serving: Jetson, capsys: pytest.CaptureFixture[str]) -> None:
    """The passport is told, and a damaged engine."""
    capsys.readouterr()
    assert main(["inspect", "toy", "--repository", str(serving.repository)]) == 0
    out = capsys.readouterr().out
    assert "TensorRT 10.3.0" in out
    assert "Orin" in out
    assert main(["list", "--repository", str(serving.repository)]) == 0
    (serving.repository / "toy" / "1" / "model.plan").write_bytes(b"other")
    assert main(["inspect", "toy", "--repository", str(serving.repository)]) == 1
