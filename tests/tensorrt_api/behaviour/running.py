"""Engines, and their contexts, which run by ONNX Runtime on the addresses they are given."""

import ctypes
import json
import os
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.tensorrt_api.behaviour.objects import GPU, MAGIC, dims, fault, log, made, release
from tests.tensorrt_api.behaviour.parsing import tensor_of

NUMPY = {"FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "BOOL": "bool", "UINT8": "uint8"}


class Runtime:
    num_DLA_cores = property(lambda self: int(os.environ.get("RECORDED_TENSORRT_DLA", "0")))  # noqa: N815 - its name

    def __init__(self: Any, logger: Any) -> None:
        self.state.logger = logger

    def deserialize_cuda_engine(self: Any, serialized_engine: Any) -> Any:
        data, version = bytes(serialized_engine), self.surface.__version__
        header, _, model = data.removeprefix(MAGIC).partition(b"\n")
        if not data.startswith(MAGIC) or not model:
            log(self.state.logger, "ERROR", "Serialization assertion magicTagRead == kMAGIC_TAG failed.")
            return None
        facts = json.loads(header)
        if facts["tensorrt"] != version:
            text = f"expecting library version {version} got {facts['tensorrt']}, please rebuild."
            log(
                self.state.logger,
                "ERROR",
                f"The engine plan file is not compatible with this version of TensorRT, {text}",
            )
            return None
        if facts["gpu"] != os.environ.get(GPU, "8.7"):
            text = f"expecting compute {os.environ.get(GPU, '8.7')} got compute {facts['gpu']}, please rebuild."
            log(self.state.logger, "ERROR", f"The engine plan file is generated on an incompatible device, {text}")
            return None
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        tensors = {value.name: value for value in (*session.get_inputs(), *session.get_outputs())}
        graph = onnx.load_from_string(model).graph
        types = {value.name: tensor_of(self.surface, value) for value in (*graph.input, *graph.output)}
        inputs = [value.name for value in session.get_inputs()]
        return made(
            self.surface, "ICudaEngine", session=session, names=list(tensors), inputs=inputs, tensors=types, facts=facts
        )


class ICudaEngine:
    num_io_tensors = property(lambda self: len(self.state.names))
    num_bindings = property(lambda self: len(self.state.names))
    num_optimization_profiles = 1

    def __len__(self: Any) -> int:
        return len(self.state.names)

    def get_tensor_name(self: Any, index: int) -> str:
        return str(self.state.names[index])

    get_binding_name = get_tensor_name

    def get_tensor_mode(self: Any, name: str) -> Any:
        modes = self.surface.TensorIOMode
        return modes.INPUT if name in self.state.inputs else modes.OUTPUT

    def binding_is_input(self: Any, index: int) -> bool:
        return self.state.names[index] in self.state.inputs

    def get_tensor_dtype(self: Any, name: str) -> Any:
        return self.state.tensors[name].dtype

    def get_tensor_shape(self: Any, name: str) -> Any:
        return self.state.tensors[name].shape

    def get_binding_dtype(self: Any, index: int) -> Any:
        return self.state.tensors[self.state.names[index]].dtype

    def get_binding_shape(self: Any, index: int) -> Any:
        return self.state.tensors[self.state.names[index]].shape

    def get_tensor_format(self: Any, name: str, profile_index: int = 0) -> Any:
        return self.surface.TensorFormat.LINEAR

    def is_shape_inference_io(self: Any, name: str) -> bool:
        return False

    def get_aliased_input_tensor(self: Any, name: str) -> None:
        return None

    def create_execution_context(self: Any, **_: Any) -> Any:
        return made(self.surface, "IExecutionContext", engine=self, shapes={}, addresses={}, allocators={})


class IExecutionContext:
    engine = property(lambda self: self.state.engine)
    active_optimization_profile = 0

    def set_all_tensors_debug_state(self: Any, flag: bool) -> bool:
        return True

    def set_debug_listener(self: Any, listener: Any) -> bool:
        return True

    def set_optimization_profile_async(self: Any, profile_index: int, stream_handle: int) -> bool:
        return profile_index == 0

    def get_tensor_shape(self: Any, name: str) -> Any:
        return dims(self.surface, self.state.shapes.get(name, tuple(self.state.engine.state.tensors[name].shape)))

    def set_input_shape(self: Any, name: str, shape: Any) -> bool:
        low, _, high = self.state.engine.state.facts["shapes"].get(name, [tuple(shape)] * 3)
        if any(not a <= side <= b for a, side, b in zip(low, tuple(shape), high, strict=True)):
            return False
        self.state.shapes[name] = tuple(shape)
        return True

    def set_binding_shape(self: Any, binding: int, shape: Any) -> bool:
        return IExecutionContext.set_input_shape(self, self.state.engine.state.names[binding], shape)

    def get_binding_shape(self: Any, binding: int) -> Any:
        name = self.state.engine.state.names[binding]
        if name in self.state.shapes:
            return dims(self.surface, self.state.shapes[name])
        batch = next(iter(self.state.shapes.values()), (1,))[0]
        static = tuple(self.state.engine.state.tensors[name].shape)
        return dims(self.surface, [batch if side == -1 and index == 0 else side for index, side in enumerate(static)])

    def get_tensor_address(self: Any, name: str) -> int:
        return int(self.state.addresses.get(name, 0))

    def set_tensor_address(self: Any, name: str, memory: int) -> bool:
        self.state.addresses[name] = memory
        return True

    def set_output_allocator(self: Any, name: str, output_allocator: Any) -> bool:
        self.state.allocators[name] = output_allocator
        return True

    def execute_async_v3(self: Any, stream_handle: int) -> bool:
        for name, value in _outputs(self, self.state.addresses).items():
            allocator, later = self.state.allocators[name], release(self.surface) >= (10, 0)
            arguments = (name, None, value.nbytes, 256)
            memory = (
                allocator.reallocate_output_async(*arguments, stream_handle)
                if later
                else allocator.reallocate_output(*arguments)
            )
            ctypes.memmove(memory, value.ctypes.data, value.nbytes)
            allocator.notify_shape(name, dims(self.surface, value.shape))
        return True

    def execute_async_v2(self: Any, bindings: Any, stream_handle: int, input_consumed: Any = None) -> bool:
        addresses = dict(zip(self.state.engine.state.names, bindings, strict=True))
        for name, value in _outputs(self, addresses).items():
            ctypes.memmove(addresses[name], value.ctypes.data, value.nbytes)
        return True


def _outputs(context: Any, addresses: dict[str, int]) -> dict[str, Any]:
    """ONNX Runtime's answer, in the types that the engine has."""
    engine, feeds = context.state.engine.state, {}
    for name in engine.inputs:
        dtype = np.dtype(NUMPY[engine.tensors[name].dtype.name])
        shape = context.state.shapes.get(name, tuple(engine.tensors[name].shape))
        data = ctypes.string_at(addresses[name], int(np.prod(shape)) * dtype.itemsize)
        feeds[name] = np.frombuffer(data, dtype).reshape(shape)
    names = [name for name in engine.names if name not in engine.inputs]
    values = dict(zip(names, engine.session.run(names, feeds), strict=True))
    wrong = 1.5 if fault("wrong_answers") else 1
    types = {name: NUMPY[engine.tensors[name].dtype.name] for name in names}
    return {name: np.ascontiguousarray(value * wrong).astype(types[name]) for name, value in values.items()}
