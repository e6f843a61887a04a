"""The commands of the examples' README, run as they stand there, but for ports and folders."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.serving import RunningGateway

ROOT = Path(__file__).parents[2]
README = (ROOT / "clients" / "examples" / "README.md").read_text()


def blocks(section: str) -> list[str]:
    """The shell blocks under the heading that begins with `section`."""
    [text] = [text for text in README.split("\n## ") if text.startswith(section)]
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class Examples:
    """They write into `folder`."""

    def __init__(self, gateway: RunningGateway, folder: Path) -> None:
        self.gateway = gateway
        self.folder = folder

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a shell says to it, at the gateway's ports; `python` is the one that runs the tests."""
        command = command.replace("localhost:8081", self.gateway.grpc)
        command = command.replace("http://localhost:8080", self.gateway.url)
        command = command.replace("localhost:8080", self.gateway.url.removeprefix("http://"))
        command = re.sub(
            r"build/examples|annotated\.jpg|video\.avi", lambda found: str(self.folder / found[0]), command
        )
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        shell = ["bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    def output(self, command: str) -> str:
        """What it prints; it must succeed."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def built(self, program: str, section: str) -> Path:
        """Where the first block of `section` has built it."""
        self.output(blocks(section)[0])
        return self.folder / "build" / "examples" / program

    def lines(self, photo: bytes, model: str = "balloon", query: str = "score_threshold=0.4") -> list[str]:
        """The HTTP answer, as the examples print findings: `label score x1 y1 x2 y2`."""
        answer = self.gateway.http.post(
            f"/v1/models/{model}/predict?{query}", content=photo, headers={"content-type": "image/jpeg"}
        )
        [result] = answer.raise_for_status().json()["results"]
        found = [
            (each["label"], f"{each['score']:.5f}", *(f"{each['box'][side]:.2f}" for side in ("x1", "y1", "x2", "y2")))
            if "box" in each
            else (each["label"], f"{each['score']:.5f}")
            for each in result.get("detections") or result.get("classes") or []
        ]
        return [" ".join(words) for words in found]

    @staticmethod
    def require(*needs: str) -> None:
        """Skip where a command or an absolute path is missing; in CI that is a failure."""
        missing = [need for need in needs if not (Path(need).exists() if need[0] == "/" else shutil.which(need))]
        if not missing:
            return
        reason = f"{', '.join(missing)} missing: clients/examples/README.md names the packages"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
