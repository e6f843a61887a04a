"""The Jetson guide does what it says, as far as a PC can."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import builder.__main__ as command
from tests.devices.recorded import device_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "jetson.md").read_text()
ON_THE_PC = [shlex.split(block) for block in re.findall(r"^```sh\n(.*?)\n^```", GUIDE, re.DOTALL | re.MULTILINE)]
DEVICE = "orin-nano-jp6.2"
SOMETHING_TO_DO = {"doctor", "ensure"}
"""Commands that end with 1 for this device, and why: the guide says so."""
RECIPE = """
name: balloon
source: {kind: sdk-bundle, bundle: SDK}
serve: {score_threshold: 0.3}
parity:
  images: [PHOTOS/balloons-l*.jpg]
  tolerances: {fp16: {pixels: 0, score: 0.02, iou: 0.9, unmatched: 0}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where step 1 has been done, from the shipped ONNX in place of its checkpoint, and a device's report lies."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    (folder / "own").mkdir()
    text = RECIPE.replace("SDK", str(ROOT / "recipes/balloon-rtmdet/sdk")).replace(
        "PHOTOS", str(ROOT / "recipes/photos")
    )
    (folder / "own" / "recipe.yaml").write_text(text)
    (folder / "device.json").write_text(device_of(DEVICE, folder / "root").to_json())
    options = shlex.split(re.findall(r'ARGS="(--target jetson [^"]*)"', GUIDE)[0])
    built = run(folder, "build", "own", *options)
    assert built.returncode == 0, built.stderr
    for line in ("fit       dets FP32 [300, 5], labels INT32 [300]", "check     TensorRT 10.3 takes every node"):
        assert line in built.stdout
        assert line in GUIDE
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "builder", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )


def test_there_is_something_to_run() -> None:
    """A guide whose blocks are written otherwise would pass everything else."""
    assert len(ON_THE_PC) >= 5
    assert all(words[:3] == ["python", "-m", "builder"] for words in ON_THE_PC)


@pytest.mark.parametrize("words", ON_THE_PC, ids=" ".join)
def test_the_pcs_commands_run(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they stand; none fails of itself."""
    monkeypatch.chdir(folder)
    code = command.main(words[3:])
    out, err = capsys.readouterr()
    assert code == int(words[3] in SOMETHING_TO_DO), err
    assert out
    assert not err


def test_the_builders_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Also those for the device: every option that the guide gives is one that the command has."""
    text = GUIDE.replace("\\\n", " ")
    lines = re.findall(r"python -m builder ((?:build|lint|doctor|ensure|rollback|evaluate)\b[^`\n]*)", text)
    assert len(lines) >= 8
    for line in lines:
        name, *rest = shlex.split(line)
        with pytest.raises(SystemExit):
            command.main([name, "--help"])
        known = capsys.readouterr().out
        options = [
            word for word in (rest[: rest.index("--then") + 1] if "--then" in rest else rest) if word[:2] == "--"
        ]
        assert all(option in known for option in options), line


def test_what_it_names_is_there() -> None:
    """Files, make's targets, and the variable for the device's Python."""
    for path in ("requirements/device.txt", "docker/versions.env", "docs/09-jetson.md", "tests/assets/balloons.jpg"):
        assert path in GUIDE or Path(path).name in GUIDE
        assert (ROOT / path).is_file()
    from builder.engines.program import PYTHONS, VARIABLE

    assert VARIABLE in GUIDE
    assert str(PYTHONS[0].relative_to(ROOT)).removesuffix("/bin/python") in GUIDE
