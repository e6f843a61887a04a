"""`doctor`: what fits on this device, what does not, and the command that mends it."""

import argparse
from dataclasses import asdict
from pathlib import Path

from builder.commands.output import show_json
from builder.device import Device, DeviceError, device_from_system
from builder.doctor.examination import examination, text_of
from builder.progress import say, show

DOCTOR_VERSION = 1
"""Of the JSON; the device in it has a version of its own."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "doctor",
        help="what fits on this device, and what mends the rest",
        description="Hold this device, or the report of another, against what it is to serve. Exit status: 0 where it "
        "fits, 1 where it does not (with --strict: where anything is to be known).",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--repository", type=Path, default=Path("model_repository"), help="the models (%(default)s)")
    add("--report", type=Path, metavar="FILE", help="of another device, instead of this one")
    add(
        "--write-report", type=Path, metavar="FILE", help="keep what this device says of itself, for --report elsewhere"
    )
    add("--image", metavar="NAME:TAG", help="a Triton image that is meant to run there")
    add("--strict", action="store_true", help="fail on warnings, too")
    add("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    device = _device(options)
    if options.write_report is not None:
        options.write_report.write_text(device.to_json(), encoding="utf-8")
    findings = examination(device, options.repository, options.image)
    if options.json:
        found = [asdict(finding) for finding in findings]
        show_json({"doctor_version": DOCTOR_VERSION, "device": device.model_dump(mode="json"), "findings": found})
    else:
        show(text_of(findings))
        if options.write_report is not None:
            say("written", str(options.write_report))
    worst = {"fail", "warn"} if options.strict else {"fail"}
    return int(any(finding.level in worst for finding in findings))


def _device(options: argparse.Namespace) -> Device:
    if options.report is None:
        return device_from_system(folder=options.repository)
    if options.write_report is not None:
        raise DeviceError("--write-report writes this device's report, and --report reads another's; give one of them")
    return Device.from_json(options.report.read_bytes())
