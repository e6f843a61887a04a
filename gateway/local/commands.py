"""What the two processes are started as."""

import os
import sys
from collections.abc import Mapping

from gateway.local.settings import GATEWAY_PORTS, LAUNCHER, TRITON_PYTHON, LocalSettings


def triton_command(settings: LocalSettings) -> list[str]:
    """Triton with every model that the repository has now."""
    command = [str(TRITON_PYTHON), str(LAUNCHER), f"--model-repository={settings.repository}"]
    command += [
        f"--{kind}-port={settings.ports[f'TRITON_{kind.upper()}_PORT']}" for kind in ("grpc", "http", "metrics")
    ]
    command += [f"--state={settings.run_folder / 'triton'}"]
    return command + [argument for name in settings.models() for argument in ("--load", name)]


def gateway_command() -> list[str]:
    return [sys.executable, "-m", "gateway"]


def gateway_environment(settings: LocalSettings) -> Mapping[str, str]:
    """This process's own, with the ports and Triton's address."""
    ports = {name: str(settings.ports[name]) for name in GATEWAY_PORTS}
    address = f"127.0.0.1:{settings.ports['TRITON_GRPC_PORT']}"
    return {**os.environ, **ports, "GATEWAY_TRITON": address, "PYTHONUNBUFFERED": "1"}
