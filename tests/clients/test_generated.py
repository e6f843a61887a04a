"""The synchronous client is the asynchronous one, word for word."""

import inspect

from clients import AsyncGatewayClient, GatewayClient
from tests.clients.generated import TARGET, generated


def test_the_committed_file_is_the_one_that_is_written() -> None:
    """A change to one of the two alone is found."""
    assert TARGET.read_text() == generated(), "run `make generate`"


def test_nothing_asynchronous_is_left() -> None:
    """Nor are there methods that only one of them has."""
    assert "async" not in TARGET.read_text().partition("change that, not this")[2].replace("gateway_async", "")
    names = [name for name in vars(AsyncGatewayClient) if "__a" not in name]
    assert names == [name for name in vars(GatewayClient) if name not in ("__enter__", "__exit__")]
    assert not any(inspect.iscoroutinefunction(function) for function in vars(GatewayClient).values())
