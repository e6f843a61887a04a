"""A local run for each test, gone after it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.local.run_lock import running_in
from tests.gateway.local.runs import LocalRun
from tests.local_triton import require_triton
from tests.tiny_models import colour_contract, colour_graph, write_model


@pytest.fixture
def local_run(tmp_path: Path) -> Iterator[LocalRun]:
    require_triton()
    run = LocalRun(tmp_path)
    write_model(run.repository, "colour", colour_contract(), colour_graph())
    yield run
    if left := running_in(tmp_path / "run"):
        os.kill(left.pid, signal.SIGKILL)  # what it started dies with it, which test_killed_supervisor sees to
    for region in Path("/dev/shm").glob(f"jetserve_{run.ports['TRITON_GRPC_PORT']}_*"):  # noqa: S108 - a killed Triton's
        region.unlink()
