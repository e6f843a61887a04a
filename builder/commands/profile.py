"""`profile`: where a served version's time goes, without a server."""

import argparse
import json
import sys
from pathlib import Path

from builder.commands.numbers import between
from builder.commands.output import show_table
from builder.profile import Profile, Row, profile_of_model
from builder.progress import show
from vision.errors import BuildError

PHOTO = Path(__file__).parents[2] / "tests" / "assets" / "balloons.jpg"
COLUMNS = ("name", "occupy", "usage", "n_call", "t_mean", "t_50%", "t_90%")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "profile",
        help="where a model's time goes, without a server",
        description="Run the served version of a model in this process, one photo at a time. Times are in"
        " milliseconds; occupy is the share of the pipeline's time, usage that share times the cores at work.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model of the repository")
    add("--repository", type=Path, default=Path("model_repository"), help="where it is published (%(default)s)")
    add("--photo", type=Path, default=PHOTO, help="what to run it on (the picture of the tests)")
    add("-n", type=between(1, 100_000), default=100, metavar="N", dest="iterations", help="runs (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write the figures, and what they depend on, as JSON")


def run(options: argparse.Namespace) -> int:
    profile = profile_of_model(options.repository, options.model, options.photo, options.iterations)
    if options.json is not None:
        try:
            options.json.write_text(json.dumps(profile.to_dict(), indent=2) + "\n")
        except OSError as exc:
            raise BuildError("profile", f"cannot write {options.json}: {exc.strerror}") from exc
    show(f"{_conditions(profile)}\n")
    rows = [_cells(row) for row in profile.rows]
    if sys.stdout.isatty():
        show_table(COLUMNS, rows)
    else:
        show(_plain(rows))
    return 0


def _conditions(profile: Profile) -> str:
    height, width = profile.conditions["photo_hw"]
    threads = profile.conditions["threads"] or profile.conditions["cores"]
    return (
        f"{profile.model} version {profile.version}, {profile.conditions['precision']}, on {profile.photo}"
        f" ({width}x{height}); {profile.conditions['processor']}, {threads} threads"
    )


def _cells(row: Row) -> tuple[str, ...]:
    shares = ("-" if share is None else f"{share:.3f}" for share in (row.occupy, row.usage))
    times = (f"{milliseconds:.3f}" for milliseconds in (row.t_mean, row.t_50, row.t_90))
    return (" " * row.depth + row.name, *shares, str(row.n_call), *times)


def _plain(rows: list[tuple[str, ...]]) -> str:
    """Columns and nothing else: the first to the left, numbers to the right."""
    lines = [COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join(text) + "\n"
