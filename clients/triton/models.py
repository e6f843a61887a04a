"""What Triton's repository holds: its models, whether they can be asked, and the contracts that they carry."""

import functools
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import model_config_pb2

from clients.triton.errors import without_traceback
from vision.contract import Contract, contract_from_json
from vision.errors import ContractError


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of Triton's repository; `ready` when it can be asked, otherwise `problem` says why not."""

    name: str
    version: str
    ready: bool
    contract: Contract | None
    problem: str | None
    wanted: bool = True
    """False where Triton has not been told to load it, or to unload it since."""


def is_wanted(entry: Any) -> bool:
    """Whether Triton was last told to load this model of its repository index."""
    return bool(entry.state) and entry.state != "UNLOADING" and entry.reason != "unloaded"


def problem_of_entry(entry: Any) -> str:
    """Why a model of the repository index is not ready; on one line."""
    state: str = entry.state
    if state in ("LOADING", "UNLOADING"):
        return f"it is {state.lower()}"
    if not is_wanted(entry):
        return f"it is not loaded: python -m clients load {entry.name}"
    return f"it failed to load: {without_traceback(entry.reason) or 'Triton gives no reason'}"


def contract_from_config(config: Any) -> Contract:
    """The contract that a ModelConfig carries in its parameter `contract`, seen to fit the rest of it.

    Raises:
        ContractError: there is none, it is not valid, or names, dtypes, shapes or batch differ.
    """
    if "contract" not in config.parameters:
        raise ContractError("its config.pbtxt has no parameter `contract`: import it with `python -m builder import`")
    contract = _parsed(config.parameters["contract"].string_value)
    batch_axes = int(contract.max_batch == 1 and batch_in_dims(config))
    max_batch = config.max_batch_size or batch_axes
    declared = [tensor_of_config(tensor, batch_axes) for tensor in config.input]
    agreed = [(contract.input.name, contract.input.dtype, contract.input.shape)]
    differences = [] if declared == agreed else [f"input {agreed} in the contract, {declared} in config.pbtxt"]
    outputs = {tensor_of_config(tensor, batch_axes) for tensor in config.output}
    differences += [
        f"output {(output.name, output.dtype, output.shape)} in the contract, {sorted(outputs)} in config.pbtxt"
        for output in contract.outputs
        if (output.name, output.dtype, output.shape) not in outputs
    ]
    if max_batch != contract.max_batch:
        differences.append(f"max_batch {contract.max_batch} in the contract, {max_batch} in config.pbtxt")
    if differences:
        raise ContractError(f"contract and config.pbtxt differ: {'; '.join(differences)}. Import the model again.")
    return contract


def batch_in_dims(config: Any) -> bool:
    """Whether every shape begins with the batch, of 1: so a model is described that Triton is not to batch.

    Its own ONNX Runtime backend wants a graph with a fixed batch so; on the wire it is the same as a batch of 1.
    """
    return config.max_batch_size == 0 and all(tensor.dims[:1] == [1] for tensor in (*config.input, *config.output))


def tensor_of_config(tensor: Any, batch_axes: int) -> tuple[str, str, tuple[int, ...]]:
    """Name, dtype in the protocol's words, and shape without the batch, which is the first `batch_axes` sides."""
    kind: str = model_config_pb2.DataType.Name(tensor.data_type)
    return tensor.name, kind.removeprefix("TYPE_"), tuple(tensor.dims)[batch_axes:]


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Contract:
    return contract_from_json(text)
