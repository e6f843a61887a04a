"""`python -m gateway.local run [--background] | stop | status`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from gateway.local import background
from gateway.local.run_lock import AlreadyRunning
from gateway.local.settings import ROOT, SettingsError, settings_from_environment
from gateway.local.supervisor import Supervisor


def main(arguments: list[str] | None = None) -> int:
    """0 when all went well, 1 when something failed, 2 for a wrong setting."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        settings = settings_from_environment(repository=options.repository, run_folder=options.run_folder)
        if options.action == "stop":
            return background.stop(settings, console)
        if options.action == "status":
            return background.status(settings, console)
        if options.background:
            return background.start(settings, console)
        return Supervisor(settings, console).run()
    except SettingsError as exc:
        return _failed(exc, 2)
    except AlreadyRunning as exc:
        return _failed(exc, 1)


def _failed(error: Exception, status: int) -> int:
    print(f"python -m gateway.local: {error}", file=sys.stderr)  # noqa: T201 - to a person
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway.local", description=sys.modules["gateway.local"].__doc__)
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="what Triton serves")
    where.add_argument("--run-folder", type=Path, default=ROOT / ".run", help="logs and process ids")
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", parents=[where], help="start Triton and the gateway, and watch them")
    run.add_argument("--background", action="store_true", help="return once they answer, and leave them running")
    actions.add_parser("stop", parents=[where], help="end the run")
    actions.add_parser("status", parents=[where], help="say whether there is a run, and where")
    return parser


if __name__ == "__main__":
    sys.exit(main())
