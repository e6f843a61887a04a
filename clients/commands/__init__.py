"""What `python -m clients` does: one module a command."""
