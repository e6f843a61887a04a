"""What docs/07-grpc.md shows works as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder.__main__ import main as build
from tests.gateway.serving import no_settings, running_gateway
from tests.local_triton import LocalTriton

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / "07-grpc.md").read_text(), re.DOTALL | re.MULTILINE)
MODEL = "snippet_balloon"


def run(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_snippets(triton: LocalTriton) -> None:
    """Python over gRPC and, as it says there, over HTTP; and curl."""
    assert build(["import", str(BUNDLE), "--name", MODEL, "--repository", str(triton.repository)]) == 0
    triton.load(MODEL)
    python = next(text for kind, text in BLOCKS if kind == "python" and "client.infer(" in text)
    shell = next(text for kind, text in BLOCKS if kind == "sh" and "/v2/" in text)
    with no_settings(), running_gateway(triton.address) as gateway:
        http = gateway.url.removeprefix("http://")
        snippets = [
            ([sys.executable, "-"], python.replace("localhost:8081", gateway.grpc)),
            (
                [sys.executable, "-"],
                python.replace("localhost:8081", http).replace("tritonclient.grpc", "tritonclient.http"),
            ),
        ]
        if shutil.which("curl"):
            snippets.append((["sh", "-s"], shell.replace("localhost:8080", http)))
        for command, text in snippets:
            assert "balloon" in run(
                command, text.replace('"balloon"', f'"{MODEL}"').replace("models/balloon", f"models/{MODEL}")
            )
