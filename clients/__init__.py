"""What talks to a server: `from clients import GatewayClient`.

Importing this package imports nothing but what every part of it stands on; a client comes with what it needs when it
is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from clients.results import Box, Class, Detection, Model, Result
from clients.stream.results import StreamResult

if TYPE_CHECKING:
    from clients.direct import AsyncDirectClient, DirectClient
    from clients.gateway_async import AsyncGatewayClient
    from clients.gateway_sync import GatewayClient

__all__ = [
    "AsyncDirectClient",
    "AsyncGatewayClient",
    "Box",
    "Class",
    "Detection",
    "DirectClient",
    "GatewayClient",
    "Model",
    "Result",
    "StreamResult",
]

_MODULES = {
    "AsyncDirectClient": ("clients.direct", "triton"),
    "AsyncGatewayClient": ("clients.gateway_async", "clients"),
    "DirectClient": ("clients.direct", "triton"),
    "GatewayClient": ("clients.gateway_sync", "clients"),
}
"""Where each client stands, and the extra that brings what it needs."""

if not TYPE_CHECKING:  # to a type checker, a module with this has every name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, extra = _MODULES[name]
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as exc:
            raise ImportError(f"{name} needs {exc.name}: install jetserve with its `{extra}` extra") from exc
