"""The end of the stack. The name of this file puts it after the others."""

import pytest

from tests.docker.engine import Stack, docker

pytestmark = pytest.mark.docker


def test_down_leaves_the_models(stack: Stack) -> None:
    """`down` removes containers and networks, and what the containers wrote; the models stay until `down --volumes`."""
    stack.compose("down", "--timeout", "1", "--remove-orphans")
    volumes = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={stack.name}").split()
    assert set(stack.left()) == set(volumes)
    assert set(volumes) == {f"{stack.name}_models", f"{stack.name}_shared-memory"}
    assert "config.pbtxt" in docker(
        "run",
        "--rm",
        "--volume",
        f"{stack.name}_models:/models:ro",
        "--entrypoint",
        "ls",
        "jetserve/builder:test",
        "/models/balloon",
    )
    stack.compose("down", "--volumes")
    assert stack.left() == []
