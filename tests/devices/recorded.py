"""Recorded machines: what their files and tools say, in `<name>/machine.yaml` (the README beside says from where).

`python -m tests.devices.recorded` writes the golden files beside them anew.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from builder.device import Device, device_from_system
from builder.devices.tools import Run
from builder.doctor.examination import examination, text_of

FOLDER = Path(__file__).parent
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/machine.yaml"))


def device_of(name: str, folder: Path) -> Device:
    """The machine, read as on itself; its files are written into an empty folder."""
    root, run = machine_of(name, folder)
    return device_from_system(root, run)


def machine_of(name: str, folder: Path) -> tuple[Path, Run]:
    """The root of its files, and its tools."""
    machine = yaml.safe_load((FOLDER / name / "machine.yaml").read_text())
    return written(machine["files"], folder), tools(machine["tools"])


def written(files: Mapping[str, str], folder: Path) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def tools(answers: Mapping[str, str]) -> Run:
    """What a command writes, by how it begins; None for a tool that the machine does not have."""

    def run(command: Sequence[str]) -> str | None:
        line = " ".join(command)
        return next((answer for begin, answer in answers.items() if line.startswith(begin)), None)

    return run


def main() -> None:
    """Write the golden files anew; read the difference before it is committed."""
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            device = device_of(name, Path(folder))
            (FOLDER / name / "device.json").write_text(device.to_json())
            findings = examination(device, Path(folder) / "none")
            (FOLDER / name / "doctor.txt").write_text(text_of(findings))


if __name__ == "__main__":
    main()
