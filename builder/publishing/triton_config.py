"""`config.pbtxt`, written as protobuf text: Triton's own classes are not among the builder's dependencies."""

from dataclasses import dataclass
from typing import Literal

from vision.contract import Contract

Backend = Literal["python", "onnxruntime", "tensorrt"]
ENGINE = "model.plan"
BACKEND_LINES: dict[Backend, str] = {
    "python": 'backend: "python"',
    "onnxruntime": 'platform: "onnxruntime_onnx"',
    "tensorrt": f'backend: "tensorrt"\ndefault_model_filename: "{ENGINE}"',  # built on the device, from model.onnx
}
BATCHING = "dynamic_batching { }"  # any queue policy costs half a second now and then: docs/04-triton.md
PRINTABLE = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class Serving:
    """How Triton is to run a model; facts of the server, not of the model. `threads` 0 is one per core."""

    backend: Backend = "python"
    instances: int = 1
    threads: int = 0


def config_text(name: str, version: int, contract: Contract, serving: Serving) -> str:
    """A whole `config.pbtxt` that serves exactly `version`, the contract embedded as a parameter."""
    lines = [
        f"name: {quoted(name)}",
        BACKEND_LINES[serving.backend],
        f"max_batch_size: {contract.max_batch if _is_batched(contract, serving) else 0}",
        _tensor("input", contract.input.name, contract.input.dtype, _dims(contract, serving, contract.input.shape)),
        *(_tensor("output", o.name, o.dtype, _dims(contract, serving, o.shape)) for o in contract.outputs),
        f"instance_group {{ count: {serving.instances}{' kind: KIND_CPU' if serving.backend == 'python' else ''} }}",
        *([BATCHING] if _is_batched(contract, serving) else []),
        f"version_policy {{ specific {{ versions: {version} }} }}",
        *(_parameter(key, value) for key, value in _parameters(contract, serving).items()),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A protobuf text string: quotes, backslashes, control and non-ASCII bytes escaped (octal, as protoc prints)."""
    escaped = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if byte in PRINTABLE else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{escaped}"'


def _is_batched(contract: Contract, serving: Serving) -> bool:
    """Triton's ONNX Runtime and TensorRT backends want a variable batch for max_batch_size above 0, even for 1.

    On the wire both are the same: one leading dimension of 1.
    """
    return serving.backend == "python" or contract.max_batch > 1


def _dims(contract: Contract, serving: Serving, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if _is_batched(contract, serving) else (1, *shape)


def _tensor(kind: str, name: str, dtype: str, dims: tuple[int, ...]) -> str:
    sides = ", ".join(map(str, dims))
    return f"{kind} {{ name: {quoted(name)} data_type: TYPE_{dtype} dims: [{sides}] }}"


def _parameters(contract: Contract, serving: Serving) -> dict[str, str]:
    if serving.backend == "tensorrt":
        return {"contract": contract.to_json()}
    if serving.backend == "onnxruntime":
        return {"contract": contract.to_json(), "intra_op_thread_count": str(serving.threads)}
    return {"contract": contract.to_json(), "threads": str(serving.threads), "providers": "CPUExecutionProvider"}


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}"
