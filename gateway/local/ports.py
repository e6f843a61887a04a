"""Whether ports are free: the launcher's own check.

That file lies outside every package because it runs in Triton's environment too, so it is loaded by its path.
"""

from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from gateway.local.settings import LAUNCHER, SettingsError


def require_free(host: str, ports: Mapping[str, int]) -> None:
    """Nothing when every port can be bound.

    Raises:
        SettingsError: naming the port, who holds it where that can be known, and the setting to change.
    """
    preflight = _preflight()
    for setting, port in ports.items():
        try:
            preflight.check_port(host, port, setting)
        except preflight.PreflightError as exc:
            raise SettingsError(str(exc)) from exc


def _preflight() -> Any:
    loader = SourceFileLoader("preflight", str(LAUNCHER.with_name("preflight.py")))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module
