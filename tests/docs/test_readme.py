"""The README's commands, as a new user would type them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SHELL = [text for language, text in BLOCKS if language == "sh" and not text.startswith("make")]
PYTHON = [text for language, text in BLOCKS if language == "python"]


def run(command: list[str], environment: dict[str, str], cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`make run-background` on free ports and a repository of its own, stopped afterwards."""
    gateway, gateway_grpc, grpc, http, metrics = free_ports(5)
    folder = tmp_path_factory.mktemp("readme")
    environment = dict(
        os.environ,
        GATEWAY_PORT=str(gateway),
        GATEWAY_GRPC_PORT=str(gateway_grpc),
        TRITON_GRPC_PORT=str(grpc),
        TRITON_HTTP_PORT=str(http),
        TRITON_METRICS_PORT=str(metrics),
        REPOSITORY=str(folder / "models"),
        RUN_FOLDER=str(folder / "run"),
    )
    try:
        print(run(["make", "run-background"], environment))
        yield environment
    finally:
        subprocess.run(["make", "stop"], cwd=ROOT, env=environment, check=True, timeout=60)


def adapted(text: str, environment: dict[str, str], folder: Path) -> str:
    """The same command at the test's port and repository, writing into the test's folder."""
    text = text.replace("localhost:8080", f"localhost:{environment['GATEWAY_PORT']}")
    text = text.replace("annotated.jpg", str(folder / "annotated.jpg"))
    text = text.replace("--name mine", f"--name mine --repository {environment['REPOSITORY']}")
    text = text.replace("load mine", f"load mine --triton localhost:{environment['TRITON_GRPC_PORT']}")
    # As long as it takes to see that it works, and with this environment's Locust, which is the same.
    text = text.replace(".venv/loadtest/bin/locust", shlex.quote(str(Path(sys.executable).with_name("locust"))))
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{environment['GATEWAY_PORT']}").replace("-t 30s", "-t 3s")
    return text.replace("clients predict", f"clients predict --url http://localhost:{environment['GATEWAY_PORT']}")


@pytest.mark.triton
@pytest.mark.parametrize("block", SHELL)
def test_shell_blocks_do_what_they_say(block: str, running: dict[str, str], tmp_path: Path) -> None:
    """Each shell block of the README succeeds against a running server."""
    output = run(["bash", "-euc", adapted(block, running, tmp_path)], running)
    if "annotated.jpg" in block:
        assert (tmp_path / "annotated.jpg").stat().st_size > 10_000
    elif "predict" in block:
        assert output.count('"label":"balloon"') >= 5


@pytest.mark.triton
def test_python_block_finds_the_balloons(running: dict[str, str], tmp_path: Path) -> None:
    """The five lines of Python print the five balloons of the shipped picture."""
    [block] = PYTHON
    output = run([str(ROOT / ".venv/gateway/bin/python"), "-c", adapted(block, running, tmp_path)], running)
    assert output.count("balloon") == 5


def test_make_targets_exist() -> None:
    """Every `make` command that the README names is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert named <= targets


def test_readme_is_short() -> None:
    """The README stays under 150 lines."""
    assert README.count("\n") < 150


@pytest.mark.parametrize(
    "page",
    [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *ROOT.glob("recipes/*/*.md"),
        *ROOT.glob("clients/*/*.md"),
    ],
)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link in the documents leads to a file or folder of the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
