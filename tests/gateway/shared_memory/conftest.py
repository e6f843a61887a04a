"""A real Triton with models for these tests, and gateways before it that share memory with it, or do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.serving import RunningGateway, running_gateway
from tests.gateway.shared_memory.watched import gate_of
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, spot_contract, spot_graph, write_model

ANSWERS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("scores", np.full((1, 3), 0.75, np.float32))])
                for _ in requests]
"""

WAITS = ANSWERS.replace(
    "        return",
    """        import os, time
        end_s = time.monotonic() + 30
        while not os.path.exists("{gate}") and time.monotonic() < end_s:
            time.sleep(0.005)
        return""",
)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits for Triton to map a slot as long as it can: on a busy machine, too, it goes that way."""
    monkeypatch.setattr("gateway.tensor_path.REGISTER_S", 20.0)


@pytest.fixture(scope="session")
def models(triton: LocalTriton) -> LocalTriton:
    write_model(triton.repository, "shm_colour", colour_contract(max_batch=4), colour_graph())
    write_model(triton.repository, "shm_spot", spot_contract(max_batch=1), spot_graph())  # it mixes up batches
    script = WAITS.format(gate=gate_of(triton))
    write_model(triton.repository, "shm_waits", colour_contract(max_batch=1), script=script)
    for name in ("shm_colour", "shm_spot", "shm_waits"):
        triton.load(name)
    return triton


@pytest.fixture
def gate(models: LocalTriton) -> Iterator[Path]:
    """Not there yet; the test makes it, or it is made in the end."""
    gate_of(models).unlink(missing_ok=True)
    yield gate_of(models)
    gate_of(models).touch()


@pytest.fixture(scope="module")
def gateways(models: LocalTriton) -> Iterator[dict[str, RunningGateway]]:
    with running_gateway(models.address) as on, running_gateway(models.address, shared_memory="off") as off:
        yield {"on": on, "off": off}
