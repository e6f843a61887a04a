"""`parity`: the comparison again, for what is published, on photos of one's own."""

import argparse
from pathlib import Path

from builder.conversion import checked
from builder.exporter import exported
from builder.parity.compare import compare
from builder.parity.needed import tolerance_of
from builder.parity.report import STEP
from builder.progress import Progress, say, terminal_if_any
from builder.publishing.papers import PARITY_NUMBERS, PARITY_PAGE
from builder.publishing.place import check_writable
from builder.publishing.publication import served
from builder.recipes.photos import photos_from_patterns
from builder.recipes.recipe import FILE, Recipe, recipe_from_folder
from builder.scratch import scratch_folder, sweep
from vision.errors import BuildError

RECIPES = Path("recipes")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "parity",
        help="hold a published model against its recipe's source again",
        description="Compare what is published with its recipe's source: pixels, outputs, boxes or classes. "
        "Exit code 1 if they differ; the repository is not touched.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("recipe", metavar="RECIPE|NAME", help="folder with a recipe.yaml, or the name of a model that one builds")
    add("--photos", action="append", default=[], metavar="FOLDER|GLOB", help="instead of the recipe's (repeatable)")
    add("--name", help="the model's name, if not the recipe's")
    add("--repository", type=Path, default=Path("model_repository"), help="where it was published (%(default)s)")
    add("--checkpoint", type=Path, metavar="FILE", help="weights of the source in place of the recipe's")
    add("--trust-checkpoint", action="store_true", help="as for build: load a pickle that is more than tensors")
    add("--out", type=Path, default=Path(".builds") / "parity", metavar="FOLDER", help="for the report (%(default)s)")


def run(options: argparse.Namespace) -> int:
    recipe = _recipe(options.recipe)
    name = recipe.name if options.name is None else options.name
    _, side = served(options.repository, name)
    folder = options.out / name
    check_writable(folder, "--out", "read")
    tolerance = tolerance_of(recipe, side.contract.provenance.precision, side.contract.postprocess)
    given = photos_from_patterns(options.photos, Path.cwd(), STEP)
    photos = given or photos_from_patterns(recipe.parity.images, recipe.folder, STEP)
    progress = Progress(say, None, terminal_if_any())
    sweep()
    with scratch_folder("parity") as scratch:
        export = exported(recipe, options.checkpoint, options.trust_checkpoint, scratch / "export", progress)
        candidate = checked(export.source, None, progress)
        with progress.step(STEP) as step:
            report = compare(side, export, candidate, photos, tolerance, step, name=name)
            step.done(report.summary())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARITY_NUMBERS).write_text(report.to_json())
    (folder / PARITY_PAGE).write_text(report.to_html())
    say("report", str(folder / PARITY_PAGE))
    if report.failures:
        raise BuildError(STEP, report.summary())
    return 0


def _recipe(given: str) -> Recipe:
    """By its folder, or by the name that it builds under."""
    if (Path(given) / FILE).is_file():
        return recipe_from_folder(Path(given))
    names = []
    for path in sorted(RECIPES.glob(f"*/{FILE}")):
        recipe = recipe_from_folder(path.parent)
        if recipe.name == given:
            return recipe
        names.append(recipe.name)
    raise BuildError("read", f"no recipe builds a model {given!r}; {RECIPES} has {', '.join(names) or 'none'}")
