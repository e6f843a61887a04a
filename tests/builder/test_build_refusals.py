import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder import __main__ as command
from builder.progress import Log
from tests.builder.conftest import Builder, snapshot
from tests.builder.networks import classifier, detector
from tests.builder.recipes import TOLERANCE, onnx_source, write_loose_recipe, write_photos, write_recipe


def test_serving_options_of_another_task_are_refused(build: Builder, tmp_path: Path) -> None:
    """They would change nothing."""
    recipe = write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare"), serve={"score_threshold": 0.5})
    assert "serve.score_threshold" in build.refused("contract", recipe)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_without_a_tolerance_is_refused(build: Builder, recipe: Path, precision: str) -> None:
    """How far it may be off is for the recipe to say, and is asked before anything long is done."""
    message = build.refused("parity", recipe, "--precision", precision)
    assert f"parity.tolerances.{precision}" in message
    assert "export" not in build.out


def test_int8_without_calibration_photos_is_refused(
    build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scales taken from nothing halve what a network finds."""
    message = build.refused("precision", write_loose_recipe(tmp_path / "bare"), "--precision", "int8")
    assert "--calibration" in message
    assert "calibration.images" in message
    monkeypatch.setenv("JETSERVE_DATA", str(tmp_path / "data"))
    recipe = write_loose_recipe(tmp_path / "bare", calibration={"images": ["fruit/*.jpg"]})
    assert str(tmp_path / "data/fruit") in build.refused("precision", recipe, "--precision", "int8")


def test_a_model_that_disagrees_is_not_published(build: Builder, tmp_path: Path) -> None:
    """The image, the stage and by how much; the report lies beside the log."""
    parity = {"images": ["photos/*"], "tolerances": {"fp16": {**TOLERANCE, "outputs": 0, "score": 0}}}
    recipe = write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare"), parity=parity)
    message = build.refused("parity", recipe, "--precision", "fp16")
    assert "photo-" in message
    page = next(line for line in message.splitlines() if line.startswith("side by side: ")).removeprefix(
        "side by side: "
    )
    assert b"<img" in (build.folder / page).read_bytes()
    assert json.loads((build.folder / page).with_suffix(".json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("content", "step", "part"),
    [
        (b"not onnx", "check", "not a whole ONNX"),
        (classifier(classes=3, batch=1).SerializeToString(), "check", "4 labels"),
        (detector().SerializeToString(), "check", "output"),
        (classifier(batch=1).SerializeToString()[:-40], "check", "not a whole ONNX"),
    ],
)
def test_bad_sources_are_named(build: Builder, tmp_path: Path, content: bytes, step: str, part: str) -> None:
    """Another network, a truncated file, the wrong labels: the step and what was expected."""
    recipe = write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare"))
    (recipe / "network.onnx").write_bytes(content)
    assert part in build.refused(step, recipe)


def test_a_checkpoint_for_a_source_without_one_is_refused(build: Builder, recipe: Path) -> None:
    """It would change nothing."""
    assert "--checkpoint" in build.refused("fetch", recipe, "--checkpoint", "x.pth")


def test_a_recipe_that_cannot_be_read_is_named(build: Builder, tmp_path: Path) -> None:
    """Exit code 1 and the file."""
    assert build(tmp_path / "nowhere") == 1
    assert build.err.startswith("failed at read: ")
    assert "nowhere holds no recipe.yaml" in build.err


@pytest.mark.parametrize("options", [["--target", "gpu"], ["--precision", "fp8"], []])
def test_wrong_options_end_with_2(options: list[str]) -> None:
    """argparse's own exit code."""
    with pytest.raises(SystemExit) as caught:
        command.main(["build", *(["recipe"] if options else []), *options])
    assert caught.value.code == 2


def test_a_mistake_of_ours_is_told_as_one(build: Builder, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw names its step too, and the log holds the traceback."""
    monkeypatch.setattr("builder.conversion.fold.folded", lambda *_: os.environ["NO_SUCH_KEY"])
    message = build.refused("fold", recipe)
    assert "KeyError" in message
    assert "please report" in message
    [log] = (build.folder / ".builds" / "toy").glob("*.log")
    assert "Traceback" in log.read_text()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB, which only root can mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_repository_as_it_was(build: Builder, recipe: Path, tiny_disk: Path) -> None:
    """The message says what happened and where; nothing of the new version stays."""
    before = snapshot(tiny_disk)
    assert build(recipe, "--repository", tiny_disk / "models", "--photos", write_photos(build.folder / "more", 30)) == 1
    assert build.err.startswith("failed at publish: ")
    assert "No space left on device" in build.err
    assert str(tiny_disk / "models") in build.err
    assert snapshot(tiny_disk) in (before, {"models": "folder"})


def test_a_file_too_large_for_the_disk_leaves_the_repository_as_it_was(build: Builder, recipe: Path) -> None:
    """The same without root: no file may be larger than the graph, so the report cannot be written."""
    build(recipe)
    before = snapshot(build.folder / "model_repository")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))\n"
        "from builder.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, "build", str(recipe), "--force"],
        cwd=build.folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "failed at publish: " in done.stderr
    assert "File too large" in done.stderr
    assert snapshot(build.folder / "model_repository") == before


def test_a_tolerance_that_leaves_out_what_its_task_needs(build: Builder, tmp_path: Path) -> None:
    """As soon as the head is known: before the graph is looked at, and by the field's name."""
    tolerance = {"pixels": 0, "score": 0.001, "top_k": 1}
    recipe = write_recipe(tmp_path / "bad", parity={"images": ["photos/*"], "tolerances": {"fp32": tolerance}})
    said = build.refused("parity", recipe)
    assert "parity.tolerances.fp32 lacks iou and unmatched: this is a detector" in said
    assert "verify" not in build.out


@pytest.mark.parametrize("name", ["../../pwn", "", "a/b", ".hidden"])
def test_a_name_is_looked_at_before_anything_is_made(build: Builder, recipe: Path, name: str) -> None:
    """No log's folder, no repository, by whatever command."""
    before = snapshot(build.folder.parent)
    assert build(recipe, "--name", name) == 1
    assert f"--name {name!r}: expected letters" in build.err
    bundle = recipe / "bundle"
    assert command.main(["import", str(bundle), "--name", name]) == 1
    assert snapshot(build.folder.parent) == before


def test_a_log_that_cannot_be_kept_is_one_line(build: Builder, recipe: Path) -> None:
    """Where a file stands in the folder's place, say: an error of a step, and no traceback."""
    (build.folder / ".builds").write_text("a file")
    assert build(recipe) == 1
    assert build.err.startswith("failed at read: cannot keep a log at .builds/toy/")
    assert len(build.err.splitlines()) == 1


def test_a_log_on_a_full_disk_is_one_line(build: Builder, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step under way, and the file."""
    write, written = Log.write, []

    def full(log: Log, text: str) -> None:
        written.append(text)
        if len(written) > 5:
            raise OSError(28, "No space left on device", str(log.path))
        write(log, text)

    monkeypatch.setattr(Log, "write", full)
    assert build(recipe) == 1
    assert "No space left on device: .builds/toy/" in build.err
    assert "Traceback" not in build.err


def test_an_error_of_the_system_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes from, in whatever command."""

    def failing(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("builder.commands.list_models.models_of", failing)
    assert command.main(["list", "--repository", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"failed: {tmp_path}: Permission denied\n"


def test_a_repository_that_cannot_be_written_is_found_before_the_work(build: Builder, recipe: Path) -> None:
    """Where a file stands in its place; nothing is exported first."""
    (build.folder / "file").write_text("no folder")
    assert "file is no folder" in build.refused("publish", recipe, "--repository", "file/models")
    assert "export" not in build.out


def test_engines_and_graphs_do_not_share_a_model(build: Builder, recipe: Path) -> None:
    """Whoever runs one cannot load the other; both ways, and before the work."""
    assert build(recipe) == 0
    message = build.refused("publish", recipe, "--target", "jetson", "--repository", "model_repository", "--no-fold")
    assert "give another --repository" in message
    assert "export" not in build.out
    config = build.folder / "model_repository" / "toy" / "config.pbtxt"
    lines = 'platform: "tensorrt_plan"\ndefault_model_filename: "model.plan"'
    config.write_text(config.read_text().replace('backend: "python"', lines))
    assert "Triton's tensorrt backend" in build.refused("publish", recipe)
    assert build(recipe, "--name", "other") == 0


@pytest.mark.parametrize("version", ["nonsense", "8", "7.1", "8.x"])
def test_a_tensorrt_of_no_known_version_ends_with_2(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    with pytest.raises(SystemExit) as caught:
        command.main(["build", "recipe", "--target", "jetson", "--tensorrt", version])
    assert caught.value.code == 2
    assert "argument --tensorrt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "target"),
    [
        ("--tensorrt", "8.6", "jetson"),
        ("--jetpack", "5.1", "jetson"),
        ("--device", "device.json", "jetson"),
        ("--accelerator", "cuda", "onnxruntime"),
    ],
)
def test_an_option_of_another_target_is_refused(
    build: Builder, recipe: Path, option: str, value: str, target: str
) -> None:
    """It would change nothing."""
    assert build(recipe, option, value) == 1
    assert f"{option} is for --target {target}, and the target is cpu" in build.err


def test_a_broken_photo_is_named_before_the_work(build: Builder, recipe: Path) -> None:
    """By the step that reads them, with what to do; also one that is not among the first few."""
    write_photos(recipe / "photos", 7)
    (recipe / "photos" / "photo-6.png").write_bytes(b"no picture")
    message = build.refused("read", recipe)
    assert "photo-6.png" in message
    assert "remove or replace it" in message
    assert "export" not in build.out
