"""`ensure --dry-run` on each recorded device: what it would do and why, word for word.

The words are in `tests/golden/ensure/DEVICE.txt`; written anew with JETSERVE_WRITE_GOLDEN=1, to be read before they are
committed.
"""

import os
import re
from pathlib import Path

import pytest

from builder.passport import Passport
from tests.builder.conftest import snapshot
from tests.builder.ensure.conftest import Jetson
from tests.devices.recorded import NAMES, device_of

GOLDEN = Path(__file__).parents[2] / "golden" / "ensure"
KNOWN = ("tensorrt", "cuda", "l4t", "gpu", "compute_capability")


@pytest.mark.parametrize("name", NAMES)
def test_what_would_be_done_is_told(
    name: str, serving: Jetson, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine of an Orin with JetPack 6.2, another without an artefact, one that was never built; nothing changes."""
    serving.receives(built / "first", "cls")
    _stamped(serving, "toy", tensorrt="10.3.0", cuda="12.6", l4t="36.4.3", gpu="Orin", compute_capability="8.7")
    report = tmp_path / "device.json"
    report.write_text(device_of(name, tmp_path / "root").to_json())
    before = snapshot(serving.folder)
    assert serving.ensure("--dry-run", "--device", str(report)) == 1
    assert snapshot(serving.folder) == before
    _held(name, capsys.readouterr().out)


def test_a_device_whose_engines_fit_ends_with_0(serving: Jetson, tmp_path: Path) -> None:
    """Nothing would be done."""
    device = device_of("orin-nano-jp6.2", tmp_path / "root")
    _stamped(serving, "toy", **{known: getattr(device, known) for known in KNOWN})
    report = tmp_path / "device.json"
    report.write_text(device.to_json())
    assert serving.ensure("--dry-run", "--device", str(report)) == 0


def test_another_devices_report_is_for_a_dry_run_only(
    serving: Jetson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Engines belong to the device they were built on."""
    assert serving.ensure("--device", str(tmp_path / "device.json")) == 1
    assert "--device is for --dry-run" in capsys.readouterr().err


def _stamped(jetson: Jetson, name: str, **device: str | None) -> None:
    path = jetson.repository / name / "1" / "passport.json"
    passport = Passport.model_validate_json(path.read_bytes()).model_copy(update=device)
    path.write_text(passport.to_json())


def _held(name: str, said: str) -> None:
    said = re.sub(r"\b[0-9a-f]{12}…", "<sha256>…", said)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("JETSERVE_WRITE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(said)
    assert said == path.read_text(), f"see {path}; JETSERVE_WRITE_GOLDEN=1 writes it anew"
