"""Fixtures that several packages' tests share."""

from collections.abc import Iterator

import pytest

from tests.local_triton import LocalTriton, require_triton


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    """A real Triton with an empty repository: write a model into `triton.repository`, then `triton.load(name)`.

    One for the whole run: a test that kills it starts it again, with what was loaded, and models have names of
    their own.
    """
    require_triton()
    server = LocalTriton(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()
