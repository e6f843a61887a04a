"""Everything, in the order in which it should be mended."""

from collections.abc import Sequence
from pathlib import Path

from builder.devices.record import Device
from builder.doctor.finding import Finding
from builder.doctor.hardware import hardware
from builder.doctor.models import models
from builder.doctor.software import software

INDENT = 15


def examination(device: Device, repository: Path, image: str | None = None) -> list[Finding]:
    """Hold a device against what it is to serve. Reads the repository, and asks the device nothing more.

    Raises:
        BuildError: the repository is there and cannot be read.
    """
    conflicts = [Finding("warn", "versions", conflict) for conflict in device.conflicts]
    notes = [Finding("ok", "note", note) for note in device.notes]
    return [*software(device, image), *conflicts, *hardware(device), *models(device, repository), *notes]


def text_of(findings: Sequence[Finding]) -> str:
    """For people: a finding a line, and below it what is expected and the command that mends it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<5} {finding.about + ':':<{INDENT}} {finding.found}")
        if finding.expected is not None:
            lines.append(f"{'':<5} {'expected:':>{INDENT}} {finding.expected}")
        if finding.command is not None:
            lines.append(f"{'':<5} {'do:':>{INDENT}} {finding.command}")
    return "".join(f"{line}\n" for line in [*lines, "", _sum(findings)])


def _sum(findings: Sequence[Finding]) -> str:
    fails, warns = (sum(finding.level == level for finding in findings) for level in ("fail", "warn"))
    if fails:
        return f"does not fit: {fails} to mend, {warns} to know"
    return f"fits, with {warns} to know" if warns else "fits"
