"""Where things are and which ports they use, from the command line and the environment."""

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GATEWAY_PORTS = {"GATEWAY_PORT": 8080, "GATEWAY_GRPC_PORT": 8081}
PORTS = GATEWAY_PORTS | {"TRITON_GRPC_PORT": 8001, "TRITON_HTTP_PORT": 8000, "TRITON_METRICS_PORT": 8002}
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
TRITON_PYTHON = ROOT / ".venv" / "triton" / "bin" / "python"
LAUNCHER = ROOT / "docker" / "triton-cpu" / "launch.py"
PHOTO = ROOT / "tests" / "assets" / "balloons.jpg"
DEADLINE_S: float = Settings.model_fields["deadline_s"].default
GATEWAY_MARGIN_S = 5.0
"""For the gateway to close, after the last request has had its deadline."""


class SettingsError(Exception):
    """A setting that cannot be; the message says which and what would be right."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """One local run. The gateway's own settings are its own: it reads `GATEWAY_…` from the same environment."""

    repository: Path
    run_folder: Path
    """Logs, process ids and what Triton needs laid out."""
    ports: Mapping[str, int]
    gateway_host: str = "127.0.0.1"
    deadline_s: float = DEADLINE_S
    drain_s: float = 0.0

    @property
    def address(self) -> str:
        """Where this machine reaches the gateway."""
        return f"http://{self._reached('GATEWAY_PORT')}"

    @property
    def grpc_address(self) -> str:
        """And its gRPC, as host:port."""
        return self._reached("GATEWAY_GRPC_PORT")

    @property
    def gateway_grace_s(self) -> float:
        """How long the gateway may take to end: requests in work keep their deadline."""
        # Draining, then the requests of HTTP, then those of gRPC.
        return self.drain_s + 2 * math.ceil(self.deadline_s) + GATEWAY_MARGIN_S

    @property
    def triton_live_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['TRITON_HTTP_PORT']}/v2/health/live"

    def models(self) -> list[str]:
        """Names of the repository's models: the folders with a config.pbtxt, not what an import is still filling."""
        names = (config.parent.name for config in self.repository.glob("*/config.pbtxt"))
        return sorted(name for name in names if not name.startswith("."))

    def log(self, name: str) -> Path:
        return self.run_folder / f"{name}.log"

    def _reached(self, port: str) -> str:
        host = LOOPBACK_OF.get(self.gateway_host, self.gateway_host)
        return f"{f'[{host}]' if ':' in host else host}:{self.ports[port]}"


def settings_from_environment(
    environment: Mapping[str, str] = os.environ,
    repository: Path = ROOT / "model_repository",
    run_folder: Path = ROOT / ".run",
) -> LocalSettings:
    """Read the ports, and what of the gateway's settings bears on the run.

    Raises:
        SettingsError: a port is no port, is used twice or misspelt, the deadline is no number, or GATEWAY_TRITON points
            elsewhere.
    """
    for name in environment:
        if name.startswith("TRITON_") and name.endswith("_PORT") and name not in PORTS:
            nearest = difflib.get_close_matches(name, PORTS, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is not a setting; did you mean {nearest}? There are {', '.join(PORTS)}")
    ports = {name: _port(name, environment.get(name) or str(default)) for name, default in PORTS.items()}
    for name, port in ports.items():
        if twin := next((other for other in ports if other != name and ports[other] == port), None):
            raise SettingsError(f"{name} and {twin} are both {port}: each needs a port of its own")
    triton = f"127.0.0.1:{ports['TRITON_GRPC_PORT']}"
    if environment.get("GATEWAY_TRITON", triton) != triton:
        raise SettingsError(
            f"GATEWAY_TRITON is {environment['GATEWAY_TRITON']}, but a local run has its own Triton at {triton}: "
            "unset it, or start only the gateway with `python -m gateway`"
        )
    return LocalSettings(
        repository.resolve(),
        run_folder.resolve(),
        ports,
        environment.get("GATEWAY_HOST") or "127.0.0.1",
        _seconds("GATEWAY_DEADLINE_S", environment.get("GATEWAY_DEADLINE_S") or str(DEADLINE_S)),
        _seconds("GATEWAY_DRAIN_S", environment.get("GATEWAY_DRAIN_S") or "0"),
    )


def _port(name: str, text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise SettingsError(f"{name} is {text!r}: expected a port, 1 to 65535")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise SettingsError(f"{name} is {text!r}: expected seconds")
    return seconds  # whether it is in range is for the gateway to say
