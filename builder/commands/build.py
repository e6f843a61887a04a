"""`build`: a recipe's checkpoint, exported, converted, held against its source and published."""

import argparse
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from builder.build import TENSORRT, Built, Order, ParityError, build
from builder.lint.target import add_options, target_from_options
from builder.progress import Log, Progress, say, show, terminal_if_any
from builder.publishing.papers import PARITY_NUMBERS, PARITY_PAGE
from builder.publishing.repository import checked_name
from builder.publishing.triton_config import Accelerator
from builder.recipes.parts import Precision, Target
from builder.recipes.recipe import Recipe, recipe_from_folder
from vision.errors import BuildError, JetserveError

LOGS = Path(".builds")
PIPE_COLUMNS = 240
ENGINE = "the engine itself is built on the device, from this ONNX (python -m builder ensure): none belongs to two"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recipe's line in the table at the end."""

    recipe: str
    text: str
    seconds: float
    failed: bool


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "build",
        help="publish what a recipe describes, if it answers as its source does",
        description="Export a recipe's checkpoint, convert it, hold it against its source, and publish it.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("recipes", type=Path, nargs="+", metavar="RECIPE", help="folder with a recipe.yaml; several are built in turn")
    add(
        "--target",
        type=_target,
        choices=get_args(Target),
        default="cpu",
        help="what Triton runs it with: its Python backend, its ONNX Runtime backend, or an engine that a Jetson "
        "builds of it; tensorrt is another name for jetson (%(default)s)",
    )
    add_options(parser, TENSORRT)
    add(
        "--accelerator",
        choices=get_args(Accelerator),
        default="none",
        help="for --target onnxruntime: the CPU, or a GPU through ONNX Runtime's CUDA or TensorRT (%(default)s)",
    )
    add("--precision", choices=get_args(Precision), default="fp32", help="of the arithmetic inside (%(default)s)")
    add("--checkpoint", type=Path, metavar="FILE", help="weights in place of the recipe's")
    add(
        "--trust-checkpoint",
        action="store_true",
        help="load a checkpoint that is more than tensors: it is a pickle, and a pickle can run any program on this "
        "machine as you; only for files that you made yourself",
    )
    add(
        "--photos",
        action="append",
        default=[],
        metavar="FOLDER|GLOB",
        help="hold it against its source on these photos as well (repeatable)",
    )
    add("--calibration", type=Path, metavar="FOLDER", help="photos for --precision int8, in place of the recipe's")
    add("--repository", type=Path, help="where to publish (model_repository; model_repository_jetson for jetson)")
    add("--name", help="the model's name in URLs, in place of the recipe's")
    add(
        "--fold",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="move normalisation and layout into the graph, which then takes uint8 (TensorRT before 8.5 cannot)",
    )
    add("--force", action="store_true", help="publish a new version even if nothing changed")


def run(options: argparse.Namespace) -> int:
    for name in ("tensorrt", "jetpack", "device"):
        if getattr(options, name) is not None and options.target != "jetson":
            raise BuildError("read", f"--{name} is for --target jetson, and the target is {options.target}")
    if options.accelerator != "none" and options.target != "onnxruntime":
        raise BuildError("read", f"--accelerator is for --target onnxruntime, and the target is {options.target}")
    if options.name is not None:
        checked_name(options.name)
    if len(options.recipes) == 1:
        _one(options.recipes[0], options)
        return 0
    for name in ("name", "checkpoint"):
        if getattr(options, name) is not None:
            raise BuildError("read", f"--{name} is for one recipe, and {len(options.recipes)} are given")
    outcomes = [_outcome(folder, options) for folder in options.recipes]
    _show(outcomes)
    return int(any(outcome.failed for outcome in outcomes))


def _one(folder: Path, options: argparse.Namespace) -> Built:
    recipe = recipe_from_folder(folder)
    order = _order(recipe, options)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    log = Log(LOGS / (order.name or recipe.name) / f"{now}.log")
    try:
        log.begin(f"build {folder}: {' '.join(sys.argv[1:])}")
    except OSError as exc:
        raise BuildError("read", f"cannot keep a log at {log.path}: {exc.strerror or exc}; build elsewhere") from exc
    progress = Progress(say, log, terminal_if_any())
    try:
        built = build(order, progress)
    except KeyboardInterrupt:
        log.write_if_possible(f"{progress.current}: interrupted")
        raise
    except ParityError as exc:
        page = log.path.with_suffix(f".{PARITY_PAGE}")
        try:
            page.write_text(exc.report.to_html())
            log.path.with_suffix(f".{PARITY_NUMBERS}").write_text(exc.report.to_json())
        except OSError as failure:
            raise _logged(exc, log, f"cannot write {page}: {failure.strerror or failure}\n") from exc
        raise _logged(exc, log, f"side by side: {page}\n") from exc
    except BuildError as exc:
        raise _logged(exc, log) from exc
    except Exception as exc:  # a mistake of ours, which the person who builds must be able to report
        log.write_if_possible(traceback.format_exc())
        raise _logged(BuildError(progress.current, f"{type(exc).__name__}: {exc}; please report it"), log) from exc
    if order.target == "jetson":
        say("", ENGINE)
    return built


def _target(text: str) -> str:
    """`jetson` had the name `tensorrt` first."""
    return "jetson" if text == "tensorrt" else text


def _logged(exc: BuildError, log: Log, more: str = "") -> BuildError:
    log.write_if_possible(f"failed at {exc}")
    detail = exc.detail.removeprefix(f"{exc.step}: ")
    return BuildError(exc.step, f"{detail}\n{more}log: {log.path}")


def _order(recipe: Recipe, options: argparse.Namespace) -> Order:
    return Order(
        recipe=recipe,
        name=options.name,
        repository=options.repository,
        target=options.target,
        tensorrt=target_from_options(options, TENSORRT).tensorrt,
        accelerator=options.accelerator,
        precision=options.precision,
        checkpoint=options.checkpoint,
        trust_checkpoint=options.trust_checkpoint,
        photos=tuple(options.photos),
        calibration=options.calibration,
        fold=options.fold,
        force=options.force,
    )


def _outcome(folder: Path, options: argparse.Namespace) -> Outcome:
    begun = time.monotonic()
    show(f"\n{folder}\n")
    try:
        built = _one(folder, options)
    except JetserveError as exc:
        sys.stdout.flush()
        sys.stderr.write(f"failed at {exc}\n")
        return Outcome(folder.name, f"failed at {str(exc).splitlines()[0]}", time.monotonic() - begun, failed=True)
    result = built.published
    text = f"{result.folder}/{result.version}{'' if result.is_new else ' (unchanged)'}; {built.parity.summary()}"
    return Outcome(folder.name, text, time.monotonic() - begun, failed=False)


def _show(outcomes: list[Outcome]) -> None:
    table = Table("recipe", "", "s", "outcome", title="", box=None, pad_edge=False)
    for outcome in outcomes:
        mark = "failed" if outcome.failed else "built"
        table.add_row(outcome.recipe, mark, f"{outcome.seconds:.0f}", outcome.text)
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, markup=False, highlight=False).print(table)
