"""The synchronous client, written from the asynchronous one: `make generate`.

It is a tool, and stands beside the test that runs it too: `clients` is what users import, and they have no unasync.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import unasync  # type: ignore[import-untyped]

CLIENTS = Path(__file__).parents[2] / "clients"
SOURCE = CLIENTS / "gateway_async.py"
TARGET = CLIENTS / "gateway_sync.py"
RUFF = Path(sys.executable).parent / "ruff"

WORDS = {
    "AsyncGatewayClient": "GatewayClient",
    "aclose": "close",
    "io_async": "io_sync",
}
"""Beside those of the language, which unasync knows."""
HEADLINE = (
    '"""The gateway\'s Python client, written by `make generate` from gateway_async.py: change that, not this."""'
)


def generated() -> str:
    """What the synchronous client should be."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "async", TARGET.name), Path(folder, "sync", TARGET.name)
        source.parent.mkdir()
        shutil.copy(SOURCE, source)
        rule = unasync.Rule(str(source.parent), str(target.parent), additional_replacements=WORDS)
        unasync.unasync_files([str(source)], [rule])
        _, _, code = target.read_text().partition("\n")
    return _formatted(f"{HEADLINE}\n{code}")


def _formatted(code: str) -> str:
    command = [str(RUFF), "format", "--stdin-filename", str(TARGET), "-"]
    ended = subprocess.run(command, input=code.encode(), capture_output=True, check=True)
    return ended.stdout.decode()


if __name__ == "__main__":
    TARGET.write_text(generated())
