"""The model contract, and the pure functions it names: decode, transforms, heads, drawing."""

__version__ = "0.1.0"
"""Of the whole project: `pyproject.toml` and the gateway read it here."""
