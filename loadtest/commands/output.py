"""What commands say."""

import sys


def complain(line: str) -> None:
    """On the standard error output."""
    sys.stderr.write(f"python -m loadtest: {line}\n")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
