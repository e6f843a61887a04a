"""`python -m loadtest`: how fast a server is, under which load, and what to change."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from loadtest.commands.output import complain
from loadtest.slo import SloError
from vision.errors import InvalidArgument, JetserveError

COMMANDS = tuple(
    name
    for name in ("run", "report", "compare", "capacity", "tune")
    if importlib.util.find_spec(f"loadtest.commands.{name}")
)
USAGE, INVALID = 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all went well and the SLO held, 1 when it was broken, 2 for a wrong command line, 3 for an invalid run."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (InvalidArgument, SloError) as exc:
        complain(str(exc))
        return USAGE
    except (JetserveError, OSError) as exc:
        complain(str(exc))
        return INVALID
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"loadtest.commands.{name}").add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
