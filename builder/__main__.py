"""The builder's command line: `python -m builder COMMAND`, each command a module of `builder/commands`."""

import argparse
import sys
from importlib import import_module

from builder.interrupts import end_like_ctrl_c
from vision.errors import BuildError, JetserveError

COMMANDS = (
    "build",
    "import_model",
    "parity",
    "evaluate",
    "list_models",
    "inspect_model",
    "rollback",
    "configure",
    "profile",
    "lint",
    "doctor",
    "ensure",
    "engine",
)
"""Imported by `main`, which takes seconds that a signal may fall into."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns 0, 1 after a step failed, 130 when interrupted; argparse itself leaves with 2 on a wrong option.
    """
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
    except BuildError as exc:
        return _failed(f"failed at {exc}", 1)
    except JetserveError as exc:
        return _failed(f"failed: {exc}", 1)
    except OSError as exc:
        return _failed(f"failed: {exc.filename or 'no file named'}: {exc.strerror or exc}", 1)
    except KeyboardInterrupt as exc:
        return _failed(f"interrupted; {exc.args[0] if exc.args else 'what was served is served still'}", 130)
    return code


def _failed(text: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m builder", description="From a trained network to a served model.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        import_module(f"builder.commands.{command}").add(commands)
    return parser


if __name__ == "__main__":
    end_like_ctrl_c()
    sys.exit(main())
