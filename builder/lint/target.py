"""Whose TensorRT is meant: named itself, by its JetPack, or by a device's report."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from builder.device import Device
from builder.lint.operators import support_of
from builder.versions import release_of_jetpack
from vision.errors import BuildError

STEP = "read"


@dataclass(frozen=True, slots=True)
class Target:
    """A TensorRT's version, and who said so, in words."""

    tensorrt: str
    source: str


def add_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """`--tensorrt`, `--jetpack` and `--device`, of which one may be given, and one must where there is no default."""
    group = parser.add_mutually_exclusive_group(required=default is None)
    known = "" if default is None else f" ({default} where none is named)"
    group.add_argument("--tensorrt", type=_tensorrt, metavar="VERSION", help=f"of the device, as in 8.5.2{known}")
    group.add_argument(
        "--jetpack", metavar="VERSION", help="of the device, as in 5.1; docker/versions.env has its TensorRT"
    )
    group.add_argument(
        "--device",
        type=Path,
        metavar="REPORT.json",
        help="the device's own report: python -m builder doctor --write-report device.json, there",
    )


def target_from_options(options: argparse.Namespace, default: str | None = None) -> Target:
    """The one that was given.

    Raises:
        BuildError: no such version, no such JetPack, no report, or one of a device that has no TensorRT.
    """
    if options.jetpack is not None:
        release = release_of_jetpack(options.jetpack)
        target = Target(release.tensorrt, f"JetPack {options.jetpack}")
    elif options.device is not None:
        target = _of_device(options.device)
    elif options.tensorrt is not None:
        target = Target(options.tensorrt, "--tensorrt")
    elif default is not None:
        target = Target(default, "where none is named")
    else:
        raise BuildError(STEP, "which TensorRT? give --tensorrt VERSION, --jetpack VERSION or --device REPORT.json")
    support_of(target.tensorrt)  # of a JetPack or a device it may be older than all that is known
    return target


def _tensorrt(text: str) -> str:
    """A version of TensorRT whose rules are known."""
    try:
        support_of(text)
    except BuildError as exc:
        raise argparse.ArgumentTypeError(exc.detail.removeprefix(f"{exc.step}: ")) from exc
    return text


def _of_device(path: Path) -> Target:
    try:
        device = Device.from_json(path.read_bytes())
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror or exc}") from exc
    if device.tensorrt is None:
        raise BuildError(
            STEP,
            f"{path} is of {device.model}, where no TensorRT was found"
            + ("" if device.jetpack is None else f"; say --jetpack {device.jetpack}, or --tensorrt VERSION"),
        )
    return Target(device.tensorrt, f"{device.model}, {path.name}")
