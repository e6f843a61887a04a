"""`python -m clients`: ask a gateway, from a shell."""

import argparse
import os
import sys
from collections.abc import Callable

from clients.commands import bench, control, models, predict, profile, watch
from clients.commands.output import failed
from vision.errors import JetserveError

COMMANDS = (predict, watch, models, bench, profile, control)


def main(arguments: list[str] | None = None) -> int:
    """0 when all went well, 1 when something failed, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    try:
        status = _done(options)
        sys.stdout.flush()
    except BrokenPipeError:  # as by `| head -1`: whoever read has enough
        # What is left is written when Python ends, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as shells have it
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT
    return status


def _done(options: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:
        raise
    except (JetserveError, OSError) as exc:
        return failed(exc)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clients", description="Ask a jetserve gateway.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
