import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from builder.__main__ import main

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-batch", "100000000000000000000"),
        ("--max-batch", "0"),
        ("--threads", "99999999999999999999"),
        ("--instances", "1000000"),
        ("--score-threshold", "nan"),
        ("--top-k", "many"),
    ],
)
def test_numbers_that_no_triton_takes_are_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number out of range is refused before anything is read, and the message names option and range."""
    with pytest.raises(SystemExit) as left:
        main(["import", str(BUNDLE), "--name", "toy", "--repository", str(tmp_path / "models"), option, value])
    assert left.value.code == 2
    assert option in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_reader_who_leaves_stops_nothing(tmp_path: Path) -> None:
    """`… | head -1` gets its line, and the import goes on to the end."""
    words = (sys.executable, "-m", "builder", "import", BUNDLE, "--name", "toy", "--repository", tmp_path / "models")
    command = f"{shlex.join(map(str, words))} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("read ")
    assert (tmp_path / "models/toy/config.pbtxt").exists()
