"""`evaluate`: what a model is worth before and after conversion, and as it is served."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import get_args

from builder.commands.numbers import between
from builder.commands.output import show_table
from builder.evaluate.data import dataset_from_settings
from builder.evaluate.evaluation import Evaluated, evaluate
from builder.evaluate.identity import identity_of
from builder.evaluate.record import write_aside, write_beside_version
from builder.evaluate.sides import Asked, GraphSide, ServerSide, SideName, source_side
from builder.progress import Progress, say, terminal_if_any
from builder.publishing.inventory import EVALUATION
from builder.publishing.publication import served
from builder.recipes.photos import data_root
from builder.recipes.recipe import FILE, Recipe, recipe_from_folder
from builder.scratch import sweep
from builder.served import Server
from builder.verify import Side
from vision.contract import Contract
from vision.errors import BackendUnavailable, BuildError, ContractError

KEPT = Path(".builds") / "evaluations"
SERVER = "http://127.0.0.1:8080"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate",
        help="AP or top-k of the source, of the published ONNX and of the running server",
        description="What a recipe's model is worth on its data: before conversion, after it, and as it is served. "
        "Answers are kept, so that an evaluation that was interrupted goes on where it stopped.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("recipe", type=Path, metavar="RECIPE", help="folder with a recipe.yaml that has been built")
    add("--data", type=Path, metavar="DIR", help="where the data sets are; $JETSERVE_DATA otherwise")
    add(
        "--sides",
        type=_sides,
        metavar="LIST",
        help="of source,onnx,fast,server (all; fast, with large JPEGs scaled down, if the contract says so; the"
        " server if there is one)",
    )
    add("--server", default=SERVER, metavar="URL", help="the running gateway (%(default)s)")
    add("--limit", type=between(1, 10**6), metavar="N", help="the first N photos only; written beside no version")
    add("--out", type=Path, metavar="FILE", help="also write the figures here, as JSON")
    add("--name", help="the model's name, if not the recipe's")
    add("--repository", type=Path, default=Path("model_repository"), help="where it was published (%(default)s)")
    add(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="weights of the source in place of the recipe's; written beside no version",
    )
    add("--trust-checkpoint", action="store_true", help="as for build: load a pickle that is more than tensors")
    add("--fresh", action="store_true", help="ask again about every photo")


def run(options: argparse.Namespace) -> int:
    recipe = recipe_from_folder(options.recipe)
    if recipe.evaluation is None:
        raise BuildError("data", f"{recipe.folder / FILE} says nothing to evaluate on; write `evaluation:` there")
    name = recipe.name if options.name is None else options.name
    folder, side = served(options.repository, name)
    sweep()
    dataset = dataset_from_settings(recipe.evaluation, options.data or data_root()).first(options.limit)
    progress = Progress(say, None, terminal_if_any())
    with ExitStack() as stack:
        sides, warnings = _asked(recipe, name, side, options, progress, stack)
        images = recipe.evaluation.images
        result = evaluate(name, side.contract, dataset, sides, KEPT, images, progress, options.fresh)
    _show(result, warnings)
    if options.out:
        write_aside(options.out, result.to_json())
        say("write", str(options.out))
    if options.limit is not None or options.checkpoint is not None:
        why = "--limit" if options.limit is not None else "--checkpoint"
        say("write", f"nothing beside the version: {why}")
        return 0
    note = write_beside_version(folder / EVALUATION, result)
    say("write", str(folder / EVALUATION))
    if note is not None:
        say("", f"note: {note}")
    return 0


def _asked(
    recipe: Recipe, name: str, side: Side, options: argparse.Namespace, progress: Progress, stack: ExitStack
) -> tuple[list[Asked], list[str]]:
    """The sides, and what must be said of one that is left out."""
    wanted: tuple[SideName, ...] = options.sides or _sides_of(side.contract)
    sides: list[Asked] = []
    if "source" in wanted:
        sides.append(source_side(recipe, side.contract, options.checkpoint, options.trust_checkpoint, progress))
    if "onnx" in wanted:
        told = f"{options.repository / name}, {side.contract.provenance.precision}"
        sides.append(GraphSide("onnx", side, told))
    if "fast" in wanted:
        told = f"{options.repository / name}, {side.contract.provenance.precision}, large JPEGs scaled down"
        try:
            sides.append(GraphSide("fast", side, told))
        except ContractError as exc:
            raise BuildError("contract", exc.detail) from exc
    if "server" in wanted:
        try:
            server = ServerSide(stack.enter_context(closing(Server(options.server))), name)
        except BackendUnavailable:
            if options.sides:
                raise
            say("server", f"none at {options.server}: left out. Start one with `make run`")
            return sides, []
        if (other := _difference(side.contract, server, options.repository / name)) is not None:
            if options.sides:
                raise BuildError("server", other)
            return sides, [f"server left out: {other}"]
        sides.append(server)
    return sides, []


def _sides_of(contract: Contract) -> tuple[SideName, ...]:
    """All that there are; decoding fast is measured unasked only where it is what is served."""
    return tuple(name for name in get_args(SideName) if name != "fast" or contract.decode == "fast")


def _difference(contract: Contract, server: ServerSide, model: Path) -> str | None:
    """What is served otherwise than the version in the repository says; None where it is that version."""
    if identity_of(server.contract) == identity_of(contract):
        return None
    theirs, ours = server.contract.provenance.model_sha256[:12], contract.provenance.model_sha256[:12]
    what = f"model sha256 {theirs}…, expected {ours}…" if theirs != ours else "the same graph behind another contract"
    return f"{server.told}, is not the build in {model} ({what}); load that: python -m clients load {server.model}"


def _show(result: Evaluated, warnings: Sequence[str]) -> None:
    others = [name for name in result.sides if name != "source" and "source" in result.sides]
    columns = [f"{len(result.dataset.samples)} photos", *result.sides, *(f"{name} - source" for name in others)]
    rows = []
    for name in next(iter(result.sides.values())).figures:
        values = [side.figures[name] for side in result.sides.values()]
        costs = [result.cost(other)[name] for other in others]
        rows.append([name, *map(_figure, values), *(None if cost is None else f"{cost:+.4f}" for cost in costs)])
    show_table(columns, rows)
    for warning in warnings:
        say("warning", warning)


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _sides(text: str) -> tuple[SideName, ...]:
    names = tuple(name for name in get_args(SideName) if name in text.split(","))
    if unknown := set(text.split(",")) - set(get_args(SideName)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of source,onnx,fast,server")
    return names
