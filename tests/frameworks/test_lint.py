"""Real exports, held against TensorRT's rules."""

from pathlib import Path

import pytest

import builder.__main__ as command
from builder.lint.check import lint
from builder.lint.subject import subject_from_name
from builder.progress import Progress
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, in_frameworks

ROOT = Path(__file__).parents[2]
RECIPES = (
    "balloon-rtmdet",
    "garbage-efficientnet",
    "fruit-mobilenetv2",
    "plate-ssd-mobilenet",
    "object-resnet18",
    "imagenet-efficientnet-lite0",
)
DEVICES = ("8.5.2", "8.6", "10.3")
"""JetPack 5.1, 6.0, and 6.1 to 6.2."""

pytestmark = list(NEEDS_FRAMEWORKS)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_clean_on_jetpack_5_and_6(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported from its checkpoint and prepared as for a device: nothing to mend, nothing to know."""
    monkeypatch.chdir(tmp_path)
    subject = subject_from_name(str(ROOT / "recipes" / recipe), None, None, Progress(lambda step, text: None))
    for version in DEVICES:
        assert lint(subject.model, version, subject.profile, subject.precision) == []


def test_what_mmdeploys_tensorrt_config_exports_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, a plugin that no Triton image has, and the remedy, the ONNX Runtime config."""
    recipe = ROOT / "recipes/balloon-rtmdet"
    [checkpoint] = recipe.glob("*.pth")
    script, photo = ROOT / "tests/frameworks/write_onnx_for_tensorrt.py", ROOT / "recipes/photos/balloons-landscape.jpg"
    in_frameworks([*map(str, (script, recipe / "rtmdet_nano_416.py", checkpoint, photo, tmp_path))])
    for version in DEVICES:
        assert command.main(["lint", str(tmp_path / "end2end.onnx"), "--tensorrt", version, "--max-batch", "8"]) == 1
        out = capsys.readouterr().out
        assert "fail  /TRTBatchedNMS (TRTBatchedNMS)" in out
        assert "mmdeploy::TRTBatchedNMS is a plugin of mmdeploy's own library" in out
        assert "-> export with mmdeploy's ONNX Runtime deploy config" in out
