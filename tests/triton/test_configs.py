"""What the builder writes into `config.pbtxt` is what the adapter reads there."""

from typing import Any, get_args

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from builder.publishing.triton_config import Backend, Serving, config_text
from clients.triton.models import contract_from_config
from tests.tiny_models import colour_contract, spot_contract
from vision.contract import Contract
from vision.errors import ContractError


def config_of(contract: Contract, backend: Backend) -> Any:
    """The builder's configuration, as Triton reads it."""
    text = config_text("tiny", 1, contract, Serving(backend))
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("backend", get_args(Backend))
@pytest.mark.parametrize("contract", [make(batch) for make in (colour_contract, spot_contract) for batch in (1, 8)])
def test_round_trip(contract: Contract, backend: Backend) -> None:
    """The contract comes back whole, for every backend, with a batch and without."""
    assert contract_from_config(config_of(contract, backend)) == contract


@pytest.mark.parametrize("dims", [[32, 32, 3], [2, 32, 32, 3], [1, 32, 32]])
def test_unbatched_shapes(dims: list[int]) -> None:
    """A model that Triton does not batch fits only with the batch of one image in its shapes."""
    config = config_of(colour_contract(max_batch=1), "onnxruntime")
    config.input[0].dims[:] = dims
    with pytest.raises(ContractError, match=r"contract and config\.pbtxt differ"):
        contract_from_config(config)


def test_unbatched_model_of_a_batched_contract() -> None:
    """A contract of several images does not fit a model that Triton does not batch."""
    config = config_of(colour_contract(max_batch=1), "onnxruntime")
    config.parameters["contract"].string_value = colour_contract(max_batch=8).to_json()
    with pytest.raises(ContractError, match=r"max_batch 8 in the contract, 0 in config\.pbtxt"):
        contract_from_config(config)
