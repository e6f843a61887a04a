"""`list`, `inspect` and `rollback`."""

import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from builder.__main__ import main
from builder.publishing import repository as repository_module
from builder.publishing.inventory import model_of, models_of
from builder.publishing.repository import publish, served_version
from builder.publishing.triton_config import Serving, config_text
from tests.builder.conftest import snapshot
from tests.tiny_models import colour_contract
from vision.contract import Contract

PAPERS = {
    "build.json": {
        "recipe": "toy-recipe",
        "kind": "torchvision",
        "target": "cpu",
        "checkpoint": {"name": "toy-0123.pth", "sha256": "ab" * 32},
        "files": {"config": {"name": "toy.py", "sha256": "cd" * 32}},
    },
    "parity.json": {"passed": True, "summary": "16 images agree"},
    "evaluation.json": {"summary": "top-1 0.91 source, 0.91 served"},
}


def contract_of(graph: bytes, **changed: Any) -> Contract:
    contract = colour_contract()
    made = {"model_sha256": hashlib.sha256(graph).hexdigest(), **changed}
    return contract.model_copy(update={"provenance": contract.provenance.model_copy(update=made)})


def publish_version(repository: Path, name: str = "toy", graph: bytes = b"graph", papers: bool = True) -> int:
    contract = contract_of(graph)

    def files(version: int) -> dict[str, bytes]:
        return {
            "model.onnx": graph,
            "model.py": b"# serves it\n",
            "contract.json": contract.to_json().encode(),
            "config.pbtxt": config_text(name, version, contract, Serving()).encode(),
            **({key: json.dumps(value).encode() for key, value in PAPERS.items()} if papers else {}),
        }

    return publish(repository, name, files).version


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> str:
    """What a command says, both ways."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a model, with what is served, and how it was found."""
    publish_version(tmp_path, "one")
    publish_version(tmp_path, "one", b"longer graph")
    publish_version(tmp_path, "two", papers=False)
    shown = told(capsys, "list", "--repository", tmp_path)
    [line] = [line for line in shown.splitlines() if " one " in line]
    for part in ("1, 2", "classification", "fp32", "passed", "top-1 0.91", "2026-01-01"):
        assert part in line
    rows = json.loads(told(capsys, "list", "--json", "--repository", tmp_path))
    assert [(row["model"], row["served"], row["versions"], row["parity"]) for row in rows] == [
        ("one", 2, [1, 2], "passed"),
        ("two", 1, [1], None),
    ]
    assert rows[0]["size_bytes"] == len(b"longer graph")


def test_an_empty_or_missing_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One holds nothing, which is told; the other cannot be read, which is an error."""
    assert "holds no models" in told(capsys, "list", "--repository", tmp_path)
    assert "give --repository" in told(capsys, "list", "--repository", tmp_path / "nowhere", code=1)


def test_damaged_and_foreign_folders_are_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever lies there, each is a line, and the others are listed."""
    for name in ("whole", "cut", "gone", "words", "list"):
        publish_version(tmp_path, name)
    (tmp_path / "cut" / "1" / "contract.json").write_bytes(b'{"schema_version": 1')
    (tmp_path / "gone" / "1" / "model.onnx").unlink()
    (tmp_path / "words" / "config.pbtxt").write_text('name: "words"\n')
    (tmp_path / "list" / "1" / "parity.json").write_text("[1, 2]")
    (tmp_path / "foreign [red]").mkdir()
    (tmp_path / "file").write_text("no folder")
    for name in ("lost+found", "System Volume Information", ".cache", ".staging-x"):
        (tmp_path / name).mkdir()
    problems = {model.name: bool(model.problem or model.versions[0].problem) for model in models_of(tmp_path)}
    assert problems == {"cut": True, "foreign [red]": True, "gone": True, "list": False, "whole": False, "words": True}
    shown = told(capsys, "list", "--repository", tmp_path)
    assert "foreign [red]" in shown
    assert "lost+found" not in shown
    assert "contract.json is not a contract" in shown
    assert "model.onnx cannot be read" in shown
    assert json.loads(told(capsys, "list", "--json", "--repository", tmp_path))


def test_a_name_that_no_model_can_have_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody meant it as one, and would look for it."""
    publish_version(tmp_path, "toy")
    shutil.copytree(tmp_path / "toy", tmp_path / "my toy")
    rows = json.loads(told(capsys, "list", "--json", "--repository", tmp_path))
    assert [row["model"] for row in rows] == ["my toy", "toy"]
    assert rows[0]["problem"].startswith("its name cannot be a model's: expected letters, digits")
    assert rows[1]["problem"] is None
    assert "my toy, version 1" in told(capsys, "inspect", "my toy", "--repository", tmp_path, code=1)
    assert "it holds: my toy, toy" in told(capsys, "inspect", "../toy", "--repository", tmp_path, code=1)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_papers_nested_too_deep_hide_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], depth: int) -> None:
    """The version that holds them is damaged; the other models are listed, and this one is shown."""
    publish_version(tmp_path, "deep")
    publish_version(tmp_path, "other")
    (tmp_path / "deep" / "1" / "parity.json").write_text('{"a":' + "[" * depth + "]" * depth + "}")
    rows = json.loads(told(capsys, "list", "--json", "--repository", tmp_path))
    assert [(row["model"], bool(row["problem"])) for row in rows] == [("deep", True), ("other", False)]
    assert "parity.json is nested too deep" in told(capsys, "inspect", "deep", "--repository", tmp_path, code=1)
    assert "nested too deep" in told(capsys, "inspect", "deep", "--json", "--repository", tmp_path, code=1)


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Provenance, steps in words, tensors, parity and evaluation; as JSON the whole contract and reports."""
    publish_version(tmp_path)
    shown = told(capsys, "inspect", "toy", "--repository", tmp_path)
    for part in (
        "version 1 (served)",
        "toy-recipe (torchvision), for cpu",
        "toy-0123.pth, sha256 " + "ab" * 32,
        "toy.py, sha256 " + "cd" * 32,
        "resize stretch: size hw [32, 32], interpolation bilinear, library opencv",
        "input UINT8 NHWC [32, 32, 3], batch up to 8",
        "scores FP32 [3]",
        "classifier: scores scores, activation none, top k 3",
        "passed: 16 images agree",
        "top-1 0.91 source",
    ):
        assert part in shown
    document = json.loads(told(capsys, "inspect", "toy", "--json", "--repository", tmp_path))
    assert document["contract"]["labels"] == ["blue", "green", "red"]
    assert document["parity"] == PAPERS["parity.json"]
    assert document["damage"] is None


def test_inspect_an_unserved_or_damaged_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any version by number; one changed byte of the graph is seen, and the exit code says so."""
    publish_version(tmp_path)
    publish_version(tmp_path)
    assert "version 1 (not served, 2 is); others: 2" in told(
        capsys, "inspect", "toy", "--version", "1", "--repository", tmp_path
    )
    (tmp_path / "toy" / "1" / "model.onnx").write_bytes(b"grape")
    shown = told(capsys, "inspect", "toy", "--version", "1", "--repository", tmp_path, code=1)
    assert "DAMAGED" in shown
    assert "its contract says" in shown
    assert "there is no version 9" in told(capsys, "inspect", "toy", "--version", "9", "--repository", tmp_path, code=1)
    assert "it holds: toy" in told(capsys, "inspect", "other", "--repository", tmp_path, code=1)


def test_rollback_and_forward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The version before is served as it was published; nothing else changes; --to goes anywhere."""
    for content in (b"one", b"two", b"three"):
        publish_version(tmp_path, graph=content)
    before = snapshot(tmp_path)
    shown = told(capsys, "rollback", "toy", "--repository", tmp_path)
    assert "version 2 in place of 3" in shown
    assert "python -m clients load toy" in shown
    after = snapshot(tmp_path)
    assert {name for name in before if before[name] != after.get(name)} == {"toy/config.pbtxt"}
    assert before.keys() == after.keys()
    assert after["toy/config.pbtxt"] == after["toy/2/config.pbtxt"]
    told(capsys, "rollback", "toy", "--to", "3", "--repository", tmp_path)
    assert snapshot(tmp_path) == before
    assert "is served already" in told(capsys, "rollback", "toy", "--to", "3", "--repository", tmp_path)
    told(capsys, "rollback", "toy", "--repository", tmp_path)
    assert publish_version(tmp_path, graph=b"four") == 4


@pytest.mark.parametrize(
    "damage",
    ["model.onnx", "model.py", "contract.json", "config.pbtxt", "byte", "other config", "garbage", "labels", "no line"],
)
def test_damaged_versions_are_passed_over_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """By default the last whole one is taken; asked for by number, a damaged one is refused, and nothing changes."""
    for content in (b"one", b"two", b"three"):
        publish_version(tmp_path, graph=content)
    folder = tmp_path / "toy" / "2"
    if damage == "byte":
        (folder / "model.onnx").write_bytes(b"twa")
    elif damage == "other config":
        shutil.copy(tmp_path / "toy" / "1" / "config.pbtxt", folder)
    elif damage == "garbage":
        with (folder / "config.pbtxt").open("a") as file:
            file.write("what is this {\n")
    elif damage == "no line":
        lines = (folder / "config.pbtxt").read_text().splitlines(keepends=True)
        (folder / "config.pbtxt").write_text("".join(line for line in lines if not line.startswith("output ")))
    elif damage == "labels":
        text = (folder / "contract.json").read_text()
        (folder / "contract.json").write_text(text.replace('"blue"', '"teal"'))
    else:
        (folder / damage).unlink()
    before = snapshot(tmp_path)
    shown = told(capsys, "rollback", "toy", "--to", "2", "--repository", tmp_path, code=1)
    assert "failed at rollback: version 2 of 'toy' is damaged" in shown
    assert "DAMAGED" in told(capsys, "inspect", "toy", "--version", "2", "--repository", tmp_path, code=1)
    assert snapshot(tmp_path) == before
    assert "version 1 in place of 3" in told(capsys, "rollback", "toy", "--repository", tmp_path)


def test_rollbacks_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing before, no such version, no such model, a model of other making: each says what there is."""
    publish_version(tmp_path)
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "config.pbtxt").write_text('name: "words"\n')
    before = snapshot(tmp_path)
    for arguments, words in (
        (["toy"], "no whole version before 1; it has 1"),
        (["toy", "--to", "7"], "no version 7; it has 1"),
        (["other"], "it holds: toy, words"),
        (["../toy"], "holds no model"),
        (["words"], "not published by this builder"),
    ):
        assert words in told(capsys, "rollback", *arguments, "--repository", tmp_path, code=1)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("failing", ["_write", "_sync"])
def test_a_full_disk_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A switch that fails before its rename leaves every byte, and says why."""
    publish_version(tmp_path)
    publish_version(tmp_path)
    before = snapshot(tmp_path)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(repository_module, failing, full)
    assert "No space left" in told(capsys, "rollback", "toy", "--repository", tmp_path, code=1)
    assert snapshot(tmp_path) == before


def test_a_rollback_waits_for_a_publish(tmp_path: Path) -> None:
    """Both hold the same lock, and what was chosen is chosen under it."""
    publish_version(tmp_path)
    publish_version(tmp_path)
    seen: list[int | None] = []

    def choose(model: Path) -> int:
        with pytest.raises(BlockingIOError):
            _lock_at_once(tmp_path)
        seen.append(served_version(model))
        return 1

    assert repository_module.switch(tmp_path, "toy", choose) == 1
    assert seen == [2]
    assert model_of(tmp_path, "toy").served == 1


def _lock_at_once(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
