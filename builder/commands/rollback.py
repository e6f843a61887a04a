"""`rollback`: serve a version that was published before, or one after it again."""

import argparse
from pathlib import Path

from builder.ensure.served import mark_rollback
from builder.progress import say
from builder.publishing.inventory import Model, damage_of, model_of
from builder.publishing.repository import switch
from vision.errors import BuildError

STEP = "rollback"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "rollback",
        help="serve an earlier version of a model, or a later one with --to",
        description="Switch a model to a version that lies in the repository, by one rename. Triton goes on serving"
        " what it has until it is told to load the model; no request is lost.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("name", metavar="NAME", help="the model")
    add("--to", type=int, metavar="N", help="the version; the one before the served one otherwise")
    add("--repository", type=Path, default=Path("model_repository"), help="where it lies (%(default)s)")


def run(options: argparse.Namespace) -> int:
    before = model_of(options.repository, options.name).served

    def marked(folder: Path) -> int:
        """Marked under the lock: an `ensure` that looks in between would undo it."""
        model = _model(folder)
        version = chosen(model, options.to)
        mark_rollback(folder, model.served, version)
        return version

    version = switch(options.repository, options.name, marked)
    what = "is served already" if version == before else f"in place of {before}"
    say("rollback", f"{options.repository / options.name}: version {version} {what}")
    say("", f"Triton takes it when it is told to: python -m clients load {options.name}")
    return 0


def chosen(model: Model, wanted: int | None) -> int:
    """The version to switch to; `wanted` None is the last whole one before the served one.

    Raises:
        BuildError: there is none, or it is damaged.
    """
    if model.served is None:
        raise BuildError(STEP, f"{model.folder}: {model.problem}; nothing was changed")
    if wanted is None:
        earlier = [version for version in model.versions if version.number < (model.served or 0)]
        whole = next((version for version in reversed(earlier) if damage_of(version) is None), None)
        if whole is None:
            raise BuildError(
                STEP, f"{model.name!r} has no whole version before {model.served}; it has {_told(model)}: give --to N"
            )
        return whole.number
    version = model.version(wanted)
    if version is None:
        raise BuildError(STEP, f"{model.name!r} has no version {wanted}; it has {_told(model)}")
    if (damage := damage_of(version)) is not None:
        raise BuildError(
            STEP,
            f"version {wanted} of {model.name!r} is damaged: {damage}; {model.served} is served still. Build again",
        )
    return wanted


def _model(folder: Path) -> Model:
    return model_of(folder.parent, folder.name)


def _told(model: Model) -> str:
    return ", ".join(
        f"{version.number}{'' if damage_of(version) is None else ' (damaged)'}" for version in model.versions
    )
