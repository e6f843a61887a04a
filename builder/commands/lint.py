"""`lint`: what a device's TensorRT will say of a network, said here."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.commands.numbers import between
from builder.commands.output import show_json
from builder.lint.check import lint
from builder.lint.finding import Finding, fails
from builder.lint.operators import support_of
from builder.lint.subject import subject_from_name
from builder.lint.target import Target, add_options, target_from_options
from builder.progress import Progress, show, terminal_if_any
from vision.contract import MAX_BATCH

LINT_VERSION = 1
Found = Sequence[tuple[str, Sequence[Finding]]]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "lint",
        help="whether a device's TensorRT takes a network, before anybody walks there",
        description="Hold networks against what a TensorRT's ONNX parser takes: operators, types, opset, constants, "
        "quantisation, free sizes, custom operators. Nothing is run on a GPU, and nothing is published. Exit code 1 if "
        "one of them would fail.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL.onnx|RECIPE|NAME", help="files, recipe folders, or published models")
    add_options(parser)
    add("--repository", type=Path, help="of published models (model_repository_jetson, then model_repository)")
    add("--max-batch", type=between(1, MAX_BATCH), metavar="N", help="the largest batch that a bare .onnx is to serve")
    add("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    target = target_from_options(options)
    found = []
    for name in options.models:
        subject = subject_from_name(
            name, options.repository, options.max_batch, Progress(_quiet, None, terminal_if_any())
        )
        found.append((subject.name, lint(subject.model, target.tensorrt, subject.profile, subject.precision)))
    if options.json:
        show_json(_document(target, found))
    else:
        show(_told(target, found))
    return int(any(fails(findings) for _, findings in found))


def _quiet(step: str, text: str) -> None:
    """A recipe's steps are `build`'s to tell; a terminal shows the one under way."""


def _document(target: Target, found: Found) -> dict[str, Any]:
    return {
        "lint_version": LINT_VERSION,
        "tensorrt": target.tensorrt,
        "according_to": target.source,
        "operators": support_of(target.tensorrt).table.source,
        "models": [
            {
                "model": name,
                "fails": len(fails(findings)),
                "warns": len(findings) - len(fails(findings)),
                "findings": [
                    {"level": item.level, "where": item.where, "reason": item.reason, "remedy": item.remedy}
                    for item in findings
                ],
            }
            for name, findings in found
        ],
    }


def _told(target: Target, found: Found) -> str:
    lines = [f"TensorRT {target.tensorrt} ({target.source})"]
    for name, findings in found:
        refused = len(fails(findings))
        counts = f"{refused} to mend, {len(findings) - refused} to know" if findings else "clean"
        lines.append(f"\n{name}: {counts}")
        for item in findings:
            lines += [f"  {item.level}  {item.where}", f"        {item.reason}", f"        -> {item.remedy}"]
    return "\n".join(lines) + "\n"
