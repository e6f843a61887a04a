"""The builder's command line: `python -m builder import SOURCE --name NAME`."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args

from builder.importer import Order, import_model
from builder.source import Wishes
from builder.triton_config import Serving
from vision.contract import MAX_BATCH, Interpolation, Library
from vision.errors import BuildError


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns 0, 1 after a step failed, 130 when interrupted; argparse itself leaves with 2 on a wrong option.
    """
    options = _parser().parse_args(arguments)
    try:
        import_model(_order(options), _say)
    except BuildError as exc:
        sys.stdout.flush()
        sys.stderr.write(f"failed at {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was served is served still\n")
        return 130
    return 0


def _say(step: str, text: str) -> None:
    try:
        sys.stdout.write(f"{step:<10}{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head -1`: nobody reads on, and the import goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _order(options: argparse.Namespace) -> Order:
    return Order(
        source=options.source,
        name=options.name,
        repository=options.repository,
        recipe=options.recipe,
        wishes=Wishes(**{field.name: getattr(options, field.name) for field in fields(Wishes)}),
        serving=Serving(options.backend, options.instances, options.threads),
        probes=tuple(options.probe),
        max_batch=options.max_batch,
        fold=options.fold,
        force=options.force,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m builder", description="From a trained network to a served model.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser(
        "import",
        help="publish an mmdeploy SDK bundle, or an ONNX with a recipe",
        description="Publish an mmdeploy SDK bundle, or an ONNX with a recipe, into the model repository.",
    ).add_argument
    add("source", type=Path, metavar="SOURCE", help="bundle folder, .zip of one, or .onnx file")
    add("--name", required=True, help="the model's name in URLs: letters, digits, - and _")
    add("--repository", type=Path, default=Path("model_repository"), help="where to publish (%(default)s)")
    add("--recipe", type=Path, metavar="FILE", help="YAML that says how to feed a bare .onnx")
    add("--labels", type=Path, metavar="FILE", help="class names, one a line; a bundle's own labels.txt otherwise")
    add(
        "--score-threshold",
        type=_fraction,
        metavar="0-1",
        help="served by default is what scores above it; the source's otherwise",
    )
    add(
        "--max-detections", type=_between(1, 10_000), metavar="N", help="boxes an image at most; the source's otherwise"
    )
    add("--top-k", type=_between(1, 10_000), metavar="K", help="classes an image; the source's otherwise")
    add("--resize-library", choices=get_args(Library), help="what resized in training, where a bundle lost it (opencv)")
    add("--resize-interpolation", choices=get_args(Interpolation), help="likewise (bilinear)")
    add(
        "--probe",
        type=Path,
        action="append",
        default=[],
        metavar="PHOTO",
        help="also verify on this photo (repeatable)",
    )
    add("--instances", type=_between(1, 64), default=1, metavar="N", help="copies that run side by side (%(default)s)")
    add(
        "--threads",
        type=_between(0, 1024),
        default=0,
        metavar="N",
        help="threads a copy, 0 is one per core (%(default)s)",
    )
    add(
        "--max-batch",
        type=_between(1, MAX_BATCH),
        metavar="N",
        help="largest batch (8, or 1 where the graph's batch is fixed)",
    )
    add(
        "--fold",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="move normalisation and layout into the graph",
    )
    add("--backend", choices=("python", "onnxruntime"), default="python", help="Triton's backend (%(default)s)")
    add("--force", action="store_true", help="publish a new version even if nothing changed")
    return parser


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return value

    return number


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
