"""The stack that the tests of this folder share: built and started once."""

from collections.abc import Iterator

import pytest

from tests.docker.engine import Stack, project, require_engine

BASE = ("compose.yaml",)


@pytest.fixture(scope="session")
def images() -> Stack:
    """Every image of the project is built, as `make docker-build` does; a stack that is not started yet."""
    require_engine()
    stack = Stack(project(), *BASE)
    stack.compose("build", files=["compose.yaml", "compose.loadtest.yaml"])
    return stack


@pytest.fixture(scope="session")
def stack(images: Stack) -> Iterator[Stack]:
    """Triton and gateway, healthy, with the balloon model; taken down with its volumes in the end."""
    images.compose("down", "--timeout", "1", "--volumes", "--remove-orphans")  # what a run that was killed left
    try:
        images.up()
        yield images
    except AssertionError:
        print(images.compose("logs", "--tail", "60", check=False))
        raise
    finally:
        images.compose("down", "--timeout", "1", "--volumes", "--remove-orphans")
