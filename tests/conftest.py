"""Fixtures that several packages' tests share."""

from collections.abc import Iterator

import pytest

from tests.local_triton import ROOT, LocalTriton, require_triton


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
    server.kill()  # its own way to end takes ten seconds, and is tested elsewhere


@pytest.fixture(scope="session")
def balloon(triton: LocalTriton) -> LocalTriton:
    """The same, with the detector that comes with the project, by its name in the documents; nobody unloads it."""
    from builder.__main__ import main as build  # most tests need none of it

    bundle = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
    assert build(["import", str(bundle), "--name", "balloon", "--repository", str(triton.repository)]) == 0
    triton.load("balloon")
    return triton
