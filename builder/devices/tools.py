"""Programs that a machine describes itself with."""

import os
import subprocess
from collections.abc import Callable, Sequence

PATIENCE_S = 30.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""nvpmodel is in /usr/sbin, which is not on the PATH of everybody."""

Run = Callable[[Sequence[str]], str | None]
"""What a program writes on standard output; None where it is not there, fails, or does not end."""


def run_tool(command: Sequence[str]) -> str | None:
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    try:
        done = subprocess.run(  # noqa: S603  # the commands are this package's own
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
