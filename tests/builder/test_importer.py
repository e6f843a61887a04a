import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import pytest

from builder import __main__ as command
from builder import conversion
from builder.publishing import publication
from builder.publishing.repository import versions
from builder.publishing.triton_config import Serving
from tests.builder.conftest import Importer, snapshot
from tests.builder.networks import detector
from vision.contract import MmdetHead, contract_from_json

Bundle = Callable[..., Path]
ROOT = Path(__file__).parents[2]


WAIT = (
    "import sys, time\n"
    "import builder.commands.import_model as c\n"
    "say = c.say\n"
    "def slow(step, text):\n"
    "    say(step, text)\n"
    "    time.sleep(60 if step == sys.argv[1] else 0)\n"
    "c.say = slow\n"
    "from builder import __main__ as m\n"
    "sys.exit(m.main(sys.argv[2:]))\n"
)
"""The command line; it goes no further than a step's line, so that the signal finds it there."""


def started(*arguments: object, until: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WAIT, until, "import", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_version_folder_holds_all_that_serving_needs(importer: Importer, bundle_with: Bundle) -> None:
    """The graph, its contract, the config it was published with, and the Python backend's file, byte for byte."""
    folder = importer(bundle_with()).folder
    version = folder / "1"
    assert {entry.name for entry in version.iterdir()} == {"model.onnx", "model.py", "contract.json", "config.pbtxt"}
    assert (version / "model.py").read_bytes() == publication.BACKEND_FILE.read_bytes()
    assert (version / "config.pbtxt").read_bytes() == (folder / "config.pbtxt").read_bytes()


def test_tritons_own_backend_needs_no_python_file(importer: Importer, bundle_with: Bundle) -> None:
    """With an ONNX Runtime backend in Triton the graph is served directly."""
    folder = importer(bundle_with(), serving=Serving(backend="onnxruntime")).folder
    assert not (folder / "1" / "model.py").exists()
    assert 'platform: "onnxruntime_onnx"' in (folder / "config.pbtxt").read_text()


def test_provenance_says_what_was_published_from_what(importer: Importer, bundle_with: Bundle) -> None:
    """Hashes of the source and of the published graph, precision, the time in UTC, the tools."""
    source = bundle_with()
    version = importer(source).folder / "1"
    made = contract_from_json((version / "contract.json").read_bytes()).provenance
    assert made.source == "bundle/end2end.onnx"
    assert made.source_sha256 == sha256((source / "end2end.onnx").read_bytes()).hexdigest()
    assert made.model_sha256 == sha256((version / "model.onnx").read_bytes()).hexdigest()
    assert made.source_sha256 != made.model_sha256
    assert made.precision == "fp32"
    assert abs((datetime.now(UTC) - datetime.fromisoformat(made.created)).total_seconds()) < 60
    assert set(made.tools) == {"jetserve", "mmdeploy", "mmdet", "onnx", "onnxruntime"}


class Later(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(hours=1)


def test_the_same_again_publishes_nothing(
    importer: Importer, bundle_with: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is served already changes no byte, whenever and with whichever tools it is imported; --force does."""
    source = bundle_with()
    importer(source)
    before = snapshot(importer.repository)
    monkeypatch.setattr(conversion, "datetime", Later)
    monkeypatch.setattr(conversion, "__version__", "99")
    result = importer(source)
    assert (result.version, result.is_new) == (1, False)
    assert "unchanged" in importer.said[-1]
    assert snapshot(importer.repository) == before
    assert importer(source, force=True).version == 2


@pytest.mark.parametrize(
    "options",
    [
        {"score_threshold": 0.9},
        {"max_detections": 3},
        {"max_batch": 2},
        {"fold": False},
        {"serving": Serving(threads=1)},
        {"serving": Serving(instances=2)},
    ],
)
def test_whatever_changes_serving_is_a_new_version(
    importer: Importer, bundle_with: Bundle, options: dict[str, Any]
) -> None:
    """Contract, graph or server settings: each makes a version of its own."""
    importer(bundle_with())
    assert importer(bundle_with(), **options).is_new


def test_a_changed_graph_or_backend_is_a_new_version(
    importer: Importer, bundle_with: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other weights under the same contract, and a newer model.py, are published; so is a version that was damaged."""
    importer(bundle_with())
    assert importer(bundle_with(detector(gain=0.5))).version == 2
    newer = tmp_path / "model.py"
    newer.write_text("# newer\n")
    monkeypatch.setattr(publication, "BACKEND_FILE", newer)
    result = importer(bundle_with(detector(gain=0.5)))
    assert result.version == 3
    (result.folder / "3" / "model.onnx").write_bytes(b"damaged")
    assert importer(bundle_with(detector(gain=0.5))).version == 4


def test_a_missing_backend_file_is_named(
    importer: Importer, bundle_with: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An incomplete checkout publishes no half a version."""
    monkeypatch.setattr(publication, "BACKEND_FILE", tmp_path / "model.py")
    importer.refused(bundle_with(), "publish", "model.py")


def test_one_line_a_step(importer: Importer, bundle_with: Bundle) -> None:
    """read, contract, check, fold, verify, publish, in this order."""
    importer(bundle_with())
    steps = [line.split(" ")[0] for line in importer.said]
    assert sorted(set(steps), key=steps.index) == ["read", "contract", "check", "fold", "verify", "publish"]


@pytest.mark.parametrize(
    ("task", "option", "value"),
    [("Detector", "top_k", 1), ("Classifier", "score_threshold", 0.5), ("Classifier", "max_detections", 5)],
)
def test_options_that_would_change_nothing_are_refused(
    importer: Importer, bundle_with: Bundle, task: str, option: str, value: float
) -> None:
    """A threshold for a classifier or a top-k for a detector was meant for another model."""
    source = bundle_with(task=task)
    importer.refused(source, "contract", "--" + option.replace("_", "-"), task[:6].lower(), **{option: value})


def test_a_bad_name_is_refused_first(importer: Importer, tmp_path: Path) -> None:
    """Before the source is even looked at."""
    importer.refused(tmp_path / "nowhere", "read", "--name", "'../up'", name="../up")


def test_the_command_line_reports_and_returns(
    bundle_with: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and one line a step on success; 1 and the failed step with what to do on the other stream."""
    arguments = ["import", str(bundle_with()), "--name", "toy", "--repository", str(tmp_path / "models")]
    options = ["--score-threshold", "0.25", "--max-detections", "9", "--threads", "1", "--max-batch", "2"]
    assert command.main([*arguments, *options]) == 0
    out, err = capsys.readouterr()
    steps = [line.split()[0] for line in out.splitlines()]
    assert steps == ["read", "contract", "check", "fold", "verify", "verify", "publish"]
    assert err == ""
    contract = contract_from_json((tmp_path / "models" / "toy" / "1" / "contract.json").read_bytes())
    assert isinstance(contract.postprocess, MmdetHead)
    assert (contract.postprocess.score_threshold, contract.postprocess.max_detections) == (0.25, 9)
    assert contract.max_batch == 2
    assert command.main(["import", str(bundle_with(labels=None)), "--name", "toy", *arguments[4:]]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("failed at contract: ")
    assert "--labels FILE" in err


@pytest.mark.parametrize(
    "options",
    [
        ["--max-batch", "0"],
        ["--threads", "-1"],
        ["--score-threshold", "1.5"],
        ["--score-threshold", "nan"],
        ["--instances", "two"],
        ["--backend", "tensorrt"],
        ["--fold", "maybe"],
    ],
)
def test_options_out_of_range_are_refused(options: list[str]) -> None:
    """argparse's own exit code 2, before anything is read."""
    with pytest.raises(SystemExit) as caught:
        command.main(["import", "x", "--name", "toy", *options])
    assert caught.value.code == 2


@pytest.mark.parametrize("step", ["read", "fold", "verify"])
def test_an_import_killed_between_steps_leaves_what_was_served(
    importer: Importer, bundle_with: Bundle, step: str
) -> None:
    """SIGKILL when a step has been told of: nothing has been written yet, and the next import works."""
    importer(bundle_with())
    before = snapshot(importer.repository)
    changed = bundle_with(detector(gain=0.5))
    process = started(changed, "--name", "toy", "--repository", importer.repository, until=step)
    assert process.stdout is not None
    assert any(line.startswith(step) for line in process.stdout)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert snapshot(importer.repository) == before
    assert importer(changed).is_new


def test_two_imports_at_once_both_succeed(bundle_with: Bundle, tmp_path: Path) -> None:
    """One waits for the other: two versions of two settings, each whole; the same twice is one version."""
    source, models = bundle_with(), tmp_path / "models"
    different = [
        started(source, "--name", "toy", "--repository", models, "--score-threshold", value) for value in (0.3, 0.4)
    ]
    same = [started(source, "--name", "twin", "--repository", models) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in [*different, *same]]
    assert [process.returncode for process in [*different, *same]] == [0, 0, 0, 0], outputs
    assert versions(models / "toy") == [1, 2]
    thresholds = {
        json.loads((models / "toy" / number / "contract.json").read_text())["postprocess"]["score_threshold"]
        for number in ("1", "2")
    }
    assert thresholds == {0.3, 0.4}
    assert versions(models / "twin") == [1]
    assert sum("unchanged" in out for out, _ in outputs) == 1
    assert not list(models.glob(".*"))
