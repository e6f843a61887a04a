"""What talks to a server: `from clients import GatewayClient`."""

from clients.gateway import GatewayClient
from clients.results import Box, Class, Detection, Model, Result

__all__ = ["Box", "Class", "Detection", "GatewayClient", "Model", "Result"]
