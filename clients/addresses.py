"""Where servers are, when nobody says otherwise."""

DEFAULT_URL = "http://127.0.0.1:8080"
"""The gateway's."""
DEFAULT_TRITON = "127.0.0.1:8001"
"""Triton's gRPC."""
