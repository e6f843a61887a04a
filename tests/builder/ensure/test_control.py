"""Triton's model control over HTTP, asked of a real Triton."""

import pytest

from builder.ensure.control import TritonControl
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import spot_contract, spot_graph, write_model
from vision.errors import BackendFailure, BackendUnavailable


@pytest.mark.triton
def test_a_model_is_loaded_or_refused_with_tritons_reason(triton: LocalTriton) -> None:
    """What is loaded is served; what cannot be leaves what was served, and the reason is told."""
    control = TritonControl(f"http://127.0.0.1:{triton.http_port}/")
    folder = write_model(triton.repository, "controlled", spot_contract(), spot_graph())
    control.load("controlled")
    triton.statistics("controlled", images=0)
    config = (folder / "config.pbtxt").read_text()
    (folder / "config.pbtxt").write_text(config.replace('backend: "python"', 'platform: "tensorrt_plan"'))
    with pytest.raises(BackendFailure, match="tensorrt"):
        control.load("controlled")
    triton.statistics("controlled", images=0)
    triton.unload("controlled")


def test_a_triton_that_is_not_there_is_unavailable() -> None:
    """And not a model's fault."""
    with pytest.raises(BackendUnavailable, match="does not answer"):
        TritonControl(f"http://127.0.0.1:{free_ports(1)[0]}").load("toy")
