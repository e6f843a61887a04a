"""Fixtures of the gateway's tests, for those that run one here."""

from tests.gateway.conftest import fake

__all__ = ["fake"]
