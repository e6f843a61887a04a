"""`python -m gateway`: serve HTTP and gRPC until told to stop."""

import argparse
import sys
from contextlib import suppress

from gateway.grpc.server import PortError, require_port
from gateway.http_server import Server, config_from_settings
from gateway.logs import log_to_stderr
from gateway.memory import keep_freed_memory
from gateway.settings import MAX_WORKERS, Settings, SettingsError, settings_from_environment, variable_of
from gateway.workers import serve_together


def main(arguments: list[str] | None = None) -> int:
    given = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    try:
        settings = settings_from_environment(**given)
    except SettingsError as exc:
        sys.stderr.write(f"python -m gateway: {exc}\n")
        return 2
    try:
        if settings.workers > 1:
            return serve_together(settings)
        require_port(settings.host, settings.grpc_port)  # uvicorn would tell it in a traceback
    except PortError as exc:
        sys.stderr.write(f"python -m gateway: {exc}\n")
        return 1
    keep_freed_memory()
    log_to_stderr(settings.log_level)
    server = Server(config_from_settings(settings), settings.drain_s)
    with suppress(KeyboardInterrupt):  # uvicorn raises what stopped it again once everything is closed
        server.run()
    return 0 if server.started else 1


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {variable_of(name):24} {field.description}" for name, field in Settings.model_fields.items()]
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve the models of a Triton over HTTP and gRPC.",
        epilog="environment variables:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"as {variable_of('workers')}: so many processes, 1 to {MAX_WORKERS}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
