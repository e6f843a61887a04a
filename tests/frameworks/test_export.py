"""The exporter, in the environment that has torch and OpenMMLab; skipped where `make setup-frameworks` has not run."""

import json
import os
import subprocess
from pathlib import Path

from tests.frameworks.jobs import NEEDS_FRAMEWORKS, PYTHON, ROOT

RECIPE = ROOT / "recipes/balloon-rtmdet"

pytestmark = list(NEEDS_FRAMEWORKS)


def test_checkpoint_exports_to_the_bundle_in_git(tmp_path: Path) -> None:
    """The checkpoint that ships gives, exported again, the ONNX and pipeline that ship."""
    [checkpoint] = RECIPE.glob("*.pth")
    command = [str(PYTHON), "-m", "builder.frameworks.openmmlab.export", "rtmdet_nano_416.py", checkpoint.name]
    subprocess.run(
        [*command, "--photo", str(ROOT / "tests/assets/balloons.jpg"), "--out", str(tmp_path / "sdk")],
        cwd=RECIPE,
        env=dict(os.environ, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1"),
        check=True,
        capture_output=True,
        timeout=300,
    )
    assert (tmp_path / "sdk/end2end.onnx").read_bytes() == (RECIPE / "sdk/end2end.onnx").read_bytes()
    assert (tmp_path / "sdk/labels.txt").read_text() == (RECIPE / "sdk/labels.txt").read_text() == "balloon\n"
    assert json.loads((tmp_path / "sdk/pipeline.json").read_text()) == json.loads(
        (RECIPE / "sdk/pipeline.json").read_text()
    )
