"""Programs for tests that stand where another is looked for."""

import shlex
import sys
from pathlib import Path


def python_program(path: Path, code: str) -> Path:
    """A program at `path` that runs `code` on this interpreter, under its own pid.

    Not by a `#!` line, which cannot name an interpreter whose path has a space.
    """
    source = path.with_suffix(".py")
    source.write_text(code)
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(source))} "$@"\n')
    path.chmod(0o755)
    return path
