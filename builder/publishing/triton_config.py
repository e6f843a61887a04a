"""`config.pbtxt`, written as protobuf text: Triton's own classes are not among the builder's dependencies."""

from dataclasses import dataclass, replace
from typing import Literal

from vision.contract import Contract, MmdetHead
from vision.serving import ServingSettings

Backend = Literal["python", "onnxruntime", "tensorrt"]
Accelerator = Literal["none", "cuda", "tensorrt"]
"""Of Triton's ONNX Runtime backend: none is the CPU."""
ENGINE = "model.plan"
BACKEND_LINES: dict[Backend, str] = {
    "python": 'backend: "python"',
    "onnxruntime": 'platform: "onnxruntime_onnx"',
    "tensorrt": f'platform: "tensorrt_plan"\ndefault_model_filename: "{ENGINE}"',  # a device builds it of model.onnx
}
TENSORRT_ACCELERATOR = 'optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt" } ] } }'
PRINTABLE = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class Serving:
    """How Triton is to run a model; facts of the server, not of the model. `threads` 0 is one per core."""

    backend: Backend = "python"
    instances: int = 1
    threads: int = 0
    accelerator: Accelerator = "none"
    preferred_batch: tuple[int, ...] = ()
    queue_delay_us: int = 0


def serving_with(settings: ServingSettings, plain: Serving, name: str, contract: Contract) -> Serving:
    """How Triton is to run a model: as `plain` says, with settings over it.

    Raises:
        InvalidArgument: the model does not take one of them.
    """
    settings.check(name, _parameters(contract, plain), contract.max_batch if _is_batched(contract, plain) else 0)
    return replace(plain, **settings.model_dump(exclude_none=True))


def config_text(name: str, version: int, contract: Contract, serving: Serving) -> str:
    """A whole `config.pbtxt` that serves exactly `version`, the contract embedded as a parameter."""
    lines = [
        f"name: {quoted(name)}",
        BACKEND_LINES[serving.backend],
        f"max_batch_size: {contract.max_batch if _is_batched(contract, serving) else 0}",
        _tensor("input", contract.input.name, contract.input.dtype, _dims(contract, serving, contract.input.shape)),
        *(_tensor("output", o.name, o.dtype, _dims(contract, serving, o.shape)) for o in contract.outputs),
        f"instance_group {{ count: {serving.instances} kind: {_kind(serving)} }}",
        *([TENSORRT_ACCELERATOR] if serving.accelerator == "tensorrt" else []),
        *([batching(serving.preferred_batch, serving.queue_delay_us)] if _is_batched(contract, serving) else []),
        f"version_policy {{ specific {{ versions: {version} }} }}",
        *(parameter(key, value) for key, value in _parameters(contract, serving).items()),
    ]
    return "\n".join(lines) + "\n"


def batching(preferred_batch: tuple[int, ...], queue_delay_us: int) -> str:
    """Triton's dynamic batching. No queue policy, ever: any costs half a second now and then (docs/04-triton.md)."""
    sizes = [f"preferred_batch_size: [{', '.join(map(str, preferred_batch))}]"] if preferred_batch else []
    delay = [f"max_queue_delay_microseconds: {queue_delay_us}"] if queue_delay_us else []
    return " ".join(["dynamic_batching {", *sizes, *delay, "}"])


def quoted(text: str) -> str:
    """A protobuf text string: quotes, backslashes, control and non-ASCII bytes escaped (octal, as protoc prints)."""
    escaped = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if byte in PRINTABLE else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{escaped}"'


def _kind(serving: Serving) -> str:
    """Where instances run. TensorRT has the GPU only; on Jetsons the Python backend has the CPU only.

    Source: docs/backend_platform_support_matrix.md of https://github.com/triton-inference-server/backend.
    """
    return "KIND_GPU" if serving.backend == "tensorrt" or serving.accelerator != "none" else "KIND_CPU"


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
    # Rows of score 0 are no boxes: a batch may be cut, and be put together again with fillers.
    filler = {"filler": "0"} if isinstance(contract.postprocess, MmdetHead) else {}
    threads = {"threads": str(serving.threads), "providers": "CPUExecutionProvider"}
    return {"contract": contract.to_json(), **threads, **filler}


def parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}"
