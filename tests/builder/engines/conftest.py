"""Devices with a recorded TensorRT."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builder.engines.devices import Bench
from tests.builder.engines.jobs import add_jobs
from tests.tensorrt_api.device import cuda_library, device_python
from tests.tensorrt_api.surface import versions


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], Path]:
    """The Python of a device with that TensorRT, None for one without; made once."""
    made: dict[str | None, Path] = {}

    def python_of(version: str | None) -> Path:
        if version not in made:
            made[version] = device_python(tmp_path_factory.mktemp("device") / "venv", version)
        return made[version]

    return python_of


@pytest.fixture(scope="session")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cuda_library(tmp_path_factory.mktemp("cuda"))


@pytest.fixture(autouse=True)
def cuda_is_found(cuda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(cuda))


@pytest.fixture(scope="session", params=versions())
def bench(
    request: pytest.FixtureRequest,
    device: Callable[[str | None], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    """Every version with every job of `tests/builder/engines/jobs.py`."""
    bench = Bench(request.param, device(request.param), tmp_path_factory.mktemp("bench"))
    add_jobs(bench)
    return bench
