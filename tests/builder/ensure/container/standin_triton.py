"""In the place of `tritonserver`: says how it was started, has the models it was told to load, ends on SIGTERM.

What it is, and each load and signal, is a line of JSON in the file that $STANDIN_TRITON names.
"""

import json
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar


def tell(**line: Any) -> None:
    with Path(os.environ["STANDIN_TRITON"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def option(name: str) -> list[str]:
    return [part.split("=", 1)[1] for part in sys.argv if part.startswith(f"--{name}=")]


def version_of(name: str) -> str:
    config = (Path(option("model-repository")[0]) / name / "config.pbtxt").read_text()
    found = re.search(r"specific \{ versions: (\d+) \}", config)
    return found[1] if found else "?"


class Handler(BaseHTTPRequestHandler):
    has: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        self.answered([])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if found := re.fullmatch(r"/v2/repository/models/(.*)/load", self.path):
            self.has[found[1]] = version_of(found[1])
            tell(load=found[1], version=self.has[found[1]])
        self.answered([{"name": name, "version": version, "state": "READY"} for name, version in self.has.items()])

    def answered(self, content: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing."""


def end(number: int, _: Any) -> None:
    tell(signal=signal.Signals(number).name)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    Handler.has = {name: version_of(name) for name in option("load-model")}
    server = ThreadingHTTPServer(("127.0.0.1", int(option("http-port")[0])), Handler)
    tell(pid=os.getpid(), arguments=sys.argv[1:], environment=sorted(os.environ))
    server.serve_forever()
