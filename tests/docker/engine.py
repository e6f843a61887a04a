"""A Docker engine, and a stack of the project's own containers on it that is nobody else's."""

import fcntl
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
TAG = "test"
"""Of the images, so that those of a running stack stay as they are."""
IMAGES = {name: f"jetserve/{name}:{TAG}" for name in ("gateway", "triton-cpu", "builder", "loadtest")}
TIMEOUT_S = 300
MOST_RUNS = 20
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def docker(*arguments: str, env: dict[str, str] | None = None, check: bool = True) -> str:
    """What `docker …` prints; AssertionError with what it says when it fails."""
    return _run(["docker", *arguments], env, check).stdout


def _run(command: list[str], env: dict[str, str] | None, check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


@cache
def plugin() -> str | None:
    """Why there is no Compose here, or None."""
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        return "there is no docker command"
    return None if done.returncode == 0 else "docker has no compose plugin"


def require_compose() -> None:
    """Skip where there is no Compose; in CI that is a failure."""
    if (reason := plugin()) is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_engine() -> None:
    """Skip where no engine answers; in CI that is a failure."""
    require_compose()
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode == 0:
        return
    reason = f"no Docker engine answers: {done.stderr.strip()}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def project() -> str:
    """What this run's stacks are called: no other run on this machine has it, and what a killed one left is found."""
    for number in range(1, MOST_RUNS + 1):
        name = f"jetserve-test-{number}"
        try:
            lock = os.open(Path(tempfile.gettempdir()) / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
        except OSError:
            continue
        return name
    raise AssertionError(f"{MOST_RUNS} runs at once, or {tempfile.gettempdir()} cannot be written")


class Stack:
    """The containers of some compose files, under a project name, ports and image tags of their own."""

    def __init__(self, name: str, *files: str) -> None:
        self.name = name
        self.http_port, self.grpc_port, load = free_ports(3)
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._files = list(files)
        self._environment = {
            "COMPOSE_PROJECT_NAME": name,
            "COMPOSE_DISABLE_ENV_FILE": "true",  # of whoever deploys from this checkout
            "JETSERVE_VERSION": TAG,
            "HTTP_PORT": str(self.http_port),
            "GRPC_PORT": str(self.grpc_port),
            "LOADTEST_PORT": str(load),
            "HEALTH_INTERVAL": "1s",
            "REVISION": "0123abc",
            "SOURCE": "https://example.org/jetserve",
        }

    def compose(self, *arguments: str, files: Sequence[str] | None = None, check: bool = True) -> str:
        """`docker compose -f … …` with the stack's files, or others; what it prints, and what it says beside that."""
        named = [part for file in files or self._files for part in ("-f", str(DOCKER / file))]
        done = _run(["docker", "compose", *named, *arguments], self._environment, check)
        return done.stdout + done.stderr

    def shell(self, script: str) -> str:
        """What the documents have a user type, for this stack."""
        return _run(["bash", "-euc", script], self._environment, check=True).stdout

    def up(self, *files: str) -> None:
        """With these files from now on, if any are given."""
        self._files = list(files) or self._files
        self.compose("up", "-d", "--wait", "--wait-timeout", "120")

    def container(self, service: str, number: int = 1) -> str:
        return f"{self.name}-{service}-{number}"

    def inside(self, service: str, *command: str, number: int = 1) -> str:
        """Run in a service's container, as its own user."""
        return docker("exec", self.container(service, number), *command)

    def crash(self, service: str, number: int = 1) -> None:
        """SIGKILL to the server itself, so that the restart policy counts: after `docker kill` it does not.

        The container may end before the shell that kills in it: look for the restart.
        """
        script = "kill -KILL $(cat /proc/1/task/1/children)"
        docker("exec", self.container(service, number), "sh", "-c", script, check=False)

    def state(self, service: str, number: int = 1) -> dict[str, Any]:
        """As `docker inspect` tells it."""
        [found] = json.loads(docker("inspect", self.container(service, number)))
        assert isinstance(found, dict)
        return found

    def left(self) -> list[str]:
        """Containers, networks and volumes of the stack; not what runs by hand of an image, which has its label."""
        label = f"label=com.docker.compose.project={self.name}"
        listings = (
            ["ps", "--all", "--filter", "label=com.docker.compose.container-number"],
            ["network", "ls"],
            ["volume", "ls"],
        )
        return [line for kind in listings for line in docker(*kind, "--quiet", "--filter", label).split()]
