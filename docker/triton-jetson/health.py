"""How Triton's container is: `health.py` ready to serve, `health.py --alive` not to be killed. Standard library only.

    engines are being built, or
    none can be served yet        ready 1, alive 0
    Triton answers                ready 0 where it has a model, alive 0
    Triton does not answer        ready 1, alive 1

Docker asks for the first, during a start period that is longer than any build; Kubernetes' startup and readiness
probes ask for the first, its liveness probe for the second.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

ADDRESS = f"http://127.0.0.1:{os.environ.get('JETSERVE_HTTP_PORT', '8000')}"
SERVER = os.environ.get("JETSERVE_TRITONSERVER", "/opt/tritonserver/bin/tritonserver")
TIMEOUT_S = 8.0


def main(is_of_life: bool, address: str = ADDRESS, proc: Path = Path("/proc")) -> int:
    if not is_triton(proc):
        print("Triton comes after the engines: they are being built, or none can be; the log says which")  # noqa: T201
        return int(not is_of_life)
    try:
        asked(f"{address}/v2/health/live", None)
        has_models = is_of_life or bool(json.loads(asked(f"{address}/v2/repository/index", b'{"ready": true}')))
    except (OSError, ValueError) as exc:
        print(f"Triton at {address} does not answer: {exc}")  # noqa: T201
        return 1
    if not has_models:
        print("Triton has no model that is ready: its log says why")  # noqa: T201
    return int(not has_models)


def is_triton(proc: Path) -> bool:
    """Whether the server has been started: before that the container's process is `ensure`."""
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            program = path.read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:  # ended meanwhile
            continue
        if Path(program).name == Path(SERVER).name:
            return True
    return False


def asked(url: str, body: bytes | None) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no loopback
    with direct.open(url, body, timeout=TIMEOUT_S) as answer:
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    sys.exit(main("--alive" in sys.argv[1:]))
