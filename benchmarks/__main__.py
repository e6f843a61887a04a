"""`make bench`: every benchmark of the main job, the server started and ended here, records in `benchmarks/out`."""

import os
import subprocess
import sys
import tempfile

from benchmarks import record
from gateway.local.settings import PORTS
from tests.ports import free_ports

OUT = record.ROOT / "benchmarks/out"
GATEWAY_PYTHON = record.ROOT / ".venv/gateway/bin/python"


def main() -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.pixels", "--out", str(OUT / "pixels.json")], check=True)
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        local = [str(GATEWAY_PYTHON), "-m", "gateway.local"]
        where = ["--run-folder", folder]
        environment = {**os.environ, **ports}
        subprocess.run([*local, "run", "--background", *where], env=environment, check=True)
        try:
            url = f"http://127.0.0.1:{ports['GATEWAY_PORT']}"
            command = [sys.executable, "-m", "benchmarks.gateway", "--url", url, "--out", str(OUT / "gateway.json")]
            subprocess.run(command, check=True)
        finally:
            subprocess.run([*local, "stop", *where], env=environment, check=True)


if __name__ == "__main__":
    main()
