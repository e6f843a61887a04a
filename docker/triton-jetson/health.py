"""How Triton's container is: `health.py` ready to serve, `health.py --alive` not to be killed. Standard library only.

    engines are being built, or
    none can be served yet        ready 1, alive 0
    Triton answers                ready 0 where it has a model, alive 0
    Triton does not answer        ready 1, alive 1

That nobody watches for new artefacts while Triton serves is said, and changes neither: photos are answered.

Docker asks for the first, during a start period that is longer than any build; Kubernetes' startup and readiness
probes ask for the first, its liveness probe for the second.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

ADDRESS = f"http://127.0.0.1:{os.environ.get('JETSERVE_HTTP_PORT') or '8000'}"
SERVER = os.environ.get("JETSERVE_TRITONSERVER", "/opt/tritonserver/bin/tritonserver")
ENTRYPOINT = "entrypoint.py"
WATCHING = 2
"""What is still called so beside Triton: the process that watches, and the one that starts it again when it ends."""
TIMEOUT_S = 8.0


def main(is_of_life: bool, address: str = ADDRESS, proc: Path = Path("/proc")) -> int:
    if not is_triton(proc):
        print("Triton comes after the engines: they are being built, or none can be; the log says which")  # noqa: T201
        return int(not is_of_life)
    try:
        asked(f"{address}/v2/health/live", None)
        has_models = is_of_life or bool(json.loads(asked(f"{address}/v2/repository/index", b'{"ready": true}')))
    except (OSError, ValueError, HTTPException) as exc:
        print(f"Triton at {address} does not answer: {exc}")  # noqa: T201
        return 1
    if not has_models:
        print("Triton has no model that is ready: its log says why")  # noqa: T201
    elif not is_watched(proc):
        print("Triton serves, and nobody watches for new artefacts now; the log says why")  # noqa: T201
    return int(not has_models)


def is_triton(proc: Path) -> bool:
    """Whether the server has been started: before that the container's process is `ensure`."""
    return any(command[:1] == [Path(SERVER).name] for command in commands(proc))


def is_watched(proc: Path) -> bool:
    return sum(command[1:2] == [ENTRYPOINT] for command in commands(proc)) >= WATCHING


def commands(proc: Path) -> Iterator[list[str]]:
    """Of each process the names of its program and its arguments, without their folders."""
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            yield [Path(part).name for part in path.read_bytes().decode(errors="replace").split("\0")]
        except OSError:  # ended meanwhile
            continue


def asked(url: str, body: bytes | None) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no loopback
    with direct.open(url, body, timeout=TIMEOUT_S) as answer:
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    sys.exit(main("--alive" in sys.argv[1:]))
