"""What doctor says of recorded machines, of images and of engines."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from builder.__main__ import main
from builder.device import Device, Interpreter
from builder.doctor.examination import examination
from builder.doctor.finding import Finding
from builder.passport import FILE, Passport
from builder.publishing.triton_config import ENGINE, Serving, config_text
from tests.devices.recorded import FOLDER, NAMES
from tests.tiny_models import colour_contract

TROUBLED = "orin-nx-jp6.2-troubled"
NANO = "orin-nano-jp6.2"
DOES_NOT_FIT = {TROUBLED}


def report(name: str) -> Device:
    return Device.from_json((FOLDER / name / "device.json").read_bytes())


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["doctor", *map(str, arguments)])
    return code, capsys.readouterr().out


def of(findings: list[Finding], about: str) -> list[Finding]:
    return [finding for finding in findings if finding.about == about]


@pytest.mark.parametrize("name", NAMES)
def test_word_for_word_and_the_exit_status(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written beside the report; status 1 where it does not fit, or where --strict and anything is to know."""
    asked = ("--report", FOLDER / name / "device.json", "--repository", tmp_path / "none")
    code, told = doctor(capsys, *asked)
    assert told == (FOLDER / name / "doctor.txt").read_text()
    assert code == int(name in DOES_NOT_FIT)
    strict, _ = doctor(capsys, *asked, "--strict")
    assert strict == int("warn " in told or "fail " in told)


def test_everything_that_is_wrong_with_a_machine_is_named_with_its_command() -> None:
    """A dGPU image, no module, no disk, little memory, zram for swap, a low mode, heat: each its line."""
    findings = examination(report(TROUBLED), Path("none"))
    levels = {finding.about: finding.level for finding in findings}
    assert [about for about, level in levels.items() if level == "fail"] == ["TensorRT", "Triton", "memory", "disk"]
    warned = [about for about, level in levels.items() if level == "warn"]
    assert warned == ["versions", "swap", "shared memory", "power mode", "heat", "supply"]
    assert all(finding.command for finding in findings if finding.level == "fail")


@pytest.mark.parametrize(
    ("name", "image", "level", "words"),
    [
        (NANO, "tritonserver:24.08-py3-igpu", "ok", "belongs to this JetPack"),
        (NANO, "registry.example/nvidia/tritonserver:24.08-py3-igpu", "ok", "belongs to this JetPack"),
        (NANO, "tritonserver:24.08-py3", "fail", "a dGPU image"),
        (NANO, "tritonserver:23.11-py3-igpu", "fail", "is for JetPack 6.0"),
        (NANO, "tritonserver:24.10-py3-igpu", "warn", "brings another TensorRT"),
        ("xavier-nx-jp5.1.2", "tritonserver:24.08-py3-igpu", "fail", "is for JetPack 6.1"),
        ("xavier-nx-jp5.1.2", "tritonserver:22.01-py3", "fail", "no image of Triton runs on this JetPack"),
        ("thor-jp7.0", "tritonserver:25.08-py3-igpu", "fail", "is for JetPack 6"),
        ("thor-jp7.0", "tritonserver:25.11-py3", "warn", "brings another TensorRT"),
        ("nothing", "tritonserver:24.08-py3-igpu", "fail", "is for Jetsons"),
        ("nothing", "tritonserver:24.08-py3", "ok", "is for PCs"),
    ],
)
def test_an_image_is_held_against_the_table(name: str, image: str, level: str, words: str) -> None:
    """The right one is right, whatever registry it comes from; a wrong one is told with the right one's name."""
    device = report(name).model_copy(update={"triton_images": ()})
    [finding] = of(examination(device, Path("none"), image), "Triton")
    assert (finding.level, words in finding.found) == (level, True), finding
    if level != "ok" and device.kind == "jetson":
        assert finding.expected is not None
        assert f"for JetPack {device.jetpack[0] if device.jetpack else ''}" in finding.expected


def test_a_jetpack_without_a_triton_is_a_failure_that_lists_the_others() -> None:
    """A known JetPack that no row has: nothing near it is recommended."""
    device = report("thor-jp7.0").model_copy(update={"l4t": "37.1.0", "jetpack": "6.9"})
    [finding] = of(examination(device, Path("none")), "Triton")
    assert finding.level == "fail"
    assert "JetPack 6.9 (L4T 37.1.0) has no Triton" in finding.found
    assert finding.expected is not None
    assert "5.1 to 5.1.6" in finding.expected


def test_a_servers_cuda_on_tegra_is_a_dgpu_image() -> None:
    """Inside the wrong image there is no name to see: its CUDA tells, until JetPack 7, which has one for both."""
    update = {"cuda_target": "sbsa-linux"}
    findings = examination(report("orin-nano-jp6.2-container").model_copy(update=update), Path("none"))
    assert "dGPU image on Tegra" in of(findings, "Triton")[0].found
    assert of(findings, "Triton")[0].level == "fail"
    assert {finding.level for finding in of(examination(report("thor-jp7.0"), Path("none")), "Triton")} == {"ok"}


def test_another_triton_in_the_container_is_told(tmp_path: Path) -> None:
    """The version in /opt/tritonserver is held against the table."""
    device = report("orin-nano-jp6.2-container").model_copy(update={"triton": "2.50.0"})
    [finding] = of(examination(device, tmp_path), "Triton")
    assert (finding.level, finding.expected) == ("warn", "2.49.0, with another TensorRT")


@pytest.mark.parametrize(
    ("free_mib", "level"), [(100, "fail"), (959, "fail"), (961, "warn"), (1919, "warn"), (1921, "ok")]
)
def test_memory_is_held_against_what_ensure_needs(free_mib: int, level: str) -> None:
    """Below ensure's least it fails, below what TensorRT would like it is told."""
    device = report(NANO)
    memory = device.memory.model_copy(update={"available_bytes": free_mib * 2**20})
    [finding] = of(examination(device.model_copy(update={"memory": memory}), Path("none")), "memory")
    assert finding.level == level


def test_no_shared_memory_fails() -> None:
    """Triton's Python backend does not start without it."""
    device = report(NANO).model_copy(update={"shared_memory": None})
    assert of(examination(device, Path("none")), "shared memory")[0].level == "fail"


def test_a_device_without_tensorrt_and_one_with_another() -> None:
    """None fails; one that is not the JetPack's is told, since engines are loaded by Triton's."""
    device = report(NANO)
    assert of(examination(device.model_copy(update={"tensorrt": None}), Path("none")), "TensorRT")[0].level == "fail"
    findings = of(examination(device.model_copy(update={"tensorrt": "10.7.0"}), Path("none")), "TensorRT")
    assert [finding.level for finding in findings] == ["ok", "warn"]


@pytest.mark.parametrize(("name", "level"), [(NANO, "fail"), ("x86-gpu", "warn")])
def test_a_python_without_polygraphy_is_told_before_ensure_fails_for_it(name: str, level: str) -> None:
    """TensorRT's module alone builds nothing; the command is the one that makes the environment."""
    lacking = Interpreter(executable="/usr/bin/python3", version="3.10.12", tensorrt="10.3.0", lacks=("polygraphy",))
    findings = examination(report(name).model_copy(update={"python": lacking, "tensorrt": "10.3.0"}), Path("none"))
    [finding] = of(findings, "TensorRT")
    assert (finding.level, "without polygraphy" in finding.found) == (level, True)
    assert "requirements/device.txt" in (finding.command or "")


@pytest.mark.parametrize(("free_gib", "told"), [(20, "-l 8G"), (6, "-l 4G"), (3.1, "-l 2G"), (2, "first room")])
def test_swap_is_no_larger_than_the_disk_bears(free_gib: float, told: str) -> None:
    """A command that fills the disk would mend one thing and break another."""
    device = report("orin-nano-jp5.1.1")
    assert device.disk is not None
    disk = device.disk.model_copy(update={"free_bytes": int(free_gib * 2**30)})
    [finding] = of(examination(device.model_copy(update={"disk": disk}), Path("none")), "swap")
    assert told in (finding.command or "")


def engine(repository: Path, **changed: Any) -> None:
    """A served version with an engine and its passport, for the recorded Orin Nano with JetPack 6.2."""
    contract = colour_contract()
    facts = {
        "onnx_sha256": "a" * 64,
        "engine_sha256": hashlib.sha256(b"engine").hexdigest(),
        "golden_sha256": "b" * 64,
        "proof": "4 images agree",
        "precision": "fp16",
        "profiles": {},
        "outputs": {"scores": "FP32"},
        "dla_core": None,
        "tensorrt": "10.3.0",
        "cuda": "12.6",
        "l4t": "36.4.3",
        "gpu": "Orin",
        "compute_capability": "8.7",
        "builder": "0.1",
        "created": "2026-01-01T00:00:00Z",
        "seconds": 61.0,
        "workspace_bytes": 2**30,
    }
    passport = Passport.model_validate(facts | changed)
    folder = repository / "colour" / "1"
    folder.mkdir(parents=True)
    config = config_text("colour", 1, contract, Serving("tensorrt"))
    (folder / ENGINE).write_bytes(b"engine")
    (folder / FILE).write_text(passport.to_json())
    (folder / "contract.json").write_text(contract.to_json())
    (folder / "config.pbtxt").write_text(config)
    (folder.parent / "config.pbtxt").write_text(config)


def test_an_engine_of_this_device_fits_and_one_of_another_is_told_with_the_reason(tmp_path: Path) -> None:
    """TensorRT, GPU or L4T of another device fail with the command that builds it anew."""
    engine(tmp_path / "right")
    [fits] = of(examination(report(NANO), tmp_path / "right"), "model colour")
    assert (fits.level, fits.command) == ("ok", None), fits
    engine(tmp_path / "wrong", tensorrt="8.5.2", gpu="Xavier", compute_capability="7.2", l4t="35.4.1")
    [wrong] = of(examination(report(NANO), tmp_path / "wrong"), "model colour")
    assert (wrong.level, wrong.command) == ("fail", "python -m builder ensure")
    assert "TensorRT 8.5.2, and this device has 10.3.0" in wrong.found
    assert "Xavier" in wrong.found


def test_an_engine_without_a_passport_and_one_without_a_gpu_fail(tmp_path: Path) -> None:
    """Nobody can say what it is of; and a CPU runs none."""
    engine(tmp_path)
    [finding] = of(examination(report("nothing"), tmp_path), "model colour")
    assert (finding.level, finding.command) == ("fail", "python -m builder build RECIPE --target cpu")
    (tmp_path / "colour" / "1" / FILE).unlink()
    shutil.copy(tmp_path / "colour" / "1" / ENGINE, tmp_path / "colour" / "1" / "model.onnx")
    [finding] = of(examination(report(NANO), tmp_path), "model colour")
    assert (finding.level, finding.command) == ("fail", "python -m builder ensure")


def test_a_damaged_model_is_told(tmp_path: Path) -> None:
    """One that Triton could not serve anywhere is no engine's fault, and told as what it is."""
    engine(tmp_path)
    (tmp_path / "colour" / "1" / "contract.json").unlink()
    [finding] = of(examination(report(NANO), tmp_path), "model colour")
    assert finding.level == "fail"
    assert "contract.json cannot be read" in finding.found


def test_a_report_goes_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What one machine writes, another reads, and says the same of it; JSON has device and findings."""
    path = tmp_path / "device.json"
    code, told = doctor(capsys, "--write-report", path, "--repository", tmp_path)
    assert f"written   {path}" in told
    again, said = doctor(capsys, "--report", path, "--repository", tmp_path)
    assert (again, told.startswith(said)) == (code, True)
    _, text = doctor(capsys, "--report", path, "--repository", tmp_path, "--json")
    content = json.loads(text)
    assert list(content) == ["doctor_version", "device", "findings"]
    assert all(list(finding) == ["level", "about", "found", "expected", "command"] for finding in content["findings"])
    assert Device.from_json(json.dumps(content["device"])) == Device.from_json(path.read_bytes())
    assert content["findings"][0]["about"] == "device"


def test_a_report_cannot_be_read_and_written_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is this machine's, the other another's; a report that is not there, or is none, is an error, too."""
    path = FOLDER / NANO / "device.json"
    assert doctor(capsys, "--report", path, "--write-report", tmp_path / "x.json")[0] == 1
    assert not (tmp_path / "x.json").exists()
    assert doctor(capsys, "--report", tmp_path / "none.json")[0] == 1
    (tmp_path / "bad.json").write_text("{}")
    assert doctor(capsys, "--report", tmp_path / "bad.json")[0] == 1
