"""`import`: an mmdeploy SDK bundle, or an ONNX that a YAML file describes, into the model repository."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import get_args

from builder.commands.numbers import between, fraction
from builder.importer import Order, import_model
from builder.progress import say
from builder.publishing.triton_config import Serving
from builder.recipes.parts import MAX_RESULTS
from builder.source import Wishes
from vision.contract import MAX_BATCH, Decode, Interpolation, Library
from vision.serving import MAX_INSTANCES, MAX_THREADS


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "import",
        help="publish an mmdeploy SDK bundle, or an ONNX with a recipe",
        description="Publish an mmdeploy SDK bundle, or an ONNX with a recipe, into the model repository.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="bundle folder, .zip of one, or .onnx file")
    add("--name", required=True, help="the model's name in URLs: letters, digits, - and _")
    add("--repository", type=Path, default=Path("model_repository"), help="where to publish (%(default)s)")
    add("--recipe", type=Path, metavar="FILE", help="YAML that says how to feed a bare .onnx")
    add("--labels", type=Path, metavar="FILE", help="class names, one a line; a bundle's own labels.txt otherwise")
    add(
        "--score-threshold",
        type=fraction,
        metavar="0-1",
        help="served by default is what scores above it; the source's otherwise",
    )
    add(
        "--max-detections",
        type=between(1, MAX_RESULTS),
        metavar="N",
        help="boxes an image at most; the source's otherwise",
    )
    add("--top-k", type=between(1, MAX_RESULTS), metavar="K", help="classes an image; the source's otherwise")
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
    add(
        "--instances",
        type=between(1, MAX_INSTANCES),
        default=1,
        metavar="N",
        help="copies that run side by side (%(default)s)",
    )
    add(
        "--threads",
        type=between(0, MAX_THREADS),
        default=0,
        metavar="N",
        help="threads a copy, 0 is one per core (%(default)s)",
    )
    add(
        "--max-batch",
        type=between(1, MAX_BATCH),
        metavar="N",
        help="largest batch (8, or 1 where the graph's batch is fixed)",
    )
    add(
        "--fold",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="move normalisation and layout into the graph",
    )
    add("--decode", choices=get_args(Decode), help="fast: large JPEGs are scaled down while they are decoded (exact)")
    add("--backend", choices=("python", "onnxruntime"), default="python", help="Triton's backend (%(default)s)")
    add("--force", action="store_true", help="publish a new version even if nothing changed")


def run(options: argparse.Namespace) -> int:
    import_model(_order(options), say)
    return 0


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
