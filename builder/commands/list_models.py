"""`list`: the models of a repository, a line each."""

import argparse
from pathlib import Path
from typing import Any

from builder.commands.output import show_json, show_table, size_told
from builder.progress import say
from builder.publishing.inventory import Model, Version, models_of

COLUMNS = ("model", "served", "versions", "task", "precision", "size", "parity", "evaluation", "published")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "list",
        help="the models of a repository",
        description="The models of a repository: versions, precision, parity, evaluation; damaged ones as such.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="which (%(default)s)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    models = models_of(options.repository)
    if options.json:
        show_json([summary_of(model) for model in models])
    elif not models:
        say("list", f"{options.repository} holds no models: python -m builder build RECIPE")
    else:
        show_table(COLUMNS, map(_row, models))
    return 0


def summary_of(model: Model) -> dict[str, Any]:
    """One model in plain values; None is what is not known."""
    served = None if model.served is None else model.version(model.served)
    contract = None if served is None else served.contract
    return {
        "model": model.name,
        "served": model.served,
        "versions": [version.number for version in model.versions],
        "damaged": {version.number: version.problem for version in model.versions if version.problem},
        "problem": model.problem or (served.problem if served else None),
        "task": contract and contract.task,
        "precision": contract and contract.provenance.precision,
        "size_bytes": served and served.size_bytes,
        "parity": parity_of(served),
        "evaluation": evaluation_of(served),
        "published": contract and contract.provenance.created,
    }


def parity_of(version: Version | None) -> str | None:
    """Whether the version agreed with its source; None where nobody looked."""
    if version is None or "passed" not in version.parity:
        return None
    return "passed" if version.parity["passed"] else "failed"


def evaluation_of(version: Version | None) -> str | None:
    """What `evaluate` found, in a line."""
    told = None if version is None else version.evaluation.get("summary")
    return told if isinstance(told, str) else None


def _row(model: Model) -> tuple[object, ...]:
    row = summary_of(model)
    if row["problem"]:
        return (model.name, row["served"], _numbers(row), f"damaged: {row['problem']}", *[None] * 5)
    told = (row[name] for name in ("parity", "evaluation", "published"))
    return (
        model.name,
        row["served"],
        _numbers(row),
        row["task"],
        row["precision"],
        size_told(row["size_bytes"]),
        *told,
    )


def _numbers(row: dict[str, Any]) -> str:
    return ", ".join(f"{number}{' damaged' if number in row['damaged'] else ''}" for number in row["versions"])
