"""What objects of every part of TensorRT are: shapes, memory, tensors, layers, networks, profiles."""

import os
from types import ModuleType, SimpleNamespace
from typing import Any

MAGIC = b"recorded engine\n"
GPU = "RECORDED_TENSORRT_GPU"


def fault(name: str) -> bool:
    return os.environ.get("RECORDED_TENSORRT_FAULT") == name


def release(module: ModuleType) -> tuple[int, int]:
    major, minor = module.__version__.split(".")[:2]
    return int(major), int(minor)


def made(module: ModuleType, cls: str, /, **state: Any) -> Any:
    from tests.tensorrt_api.module import new

    return new(module, cls, **state)


def dims(module: ModuleType, sides: Any) -> Any:
    return module.Dims([int(side) for side in sides])


def host_memory(module: ModuleType, data: bytes) -> Any:
    memory = bytearray.__new__(module.IHostMemory)
    bytearray.__init__(memory, data)
    object.__setattr__(memory, "state", SimpleNamespace())
    return memory


def log(logger: Any, severity: str, text: str) -> None:
    logger.log(getattr(logger.surface.ILogger.Severity, severity), text)


def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    return True


class Dims:
    def __init__(self, shape: Any = ()) -> None:
        object.__setattr__(self, "sides", tuple(int(side) for side in shape))

    def __len__(self) -> int:
        return len(vars(self)["sides"])

    def __getitem__(self, arg0: Any) -> Any:
        return vars(self)["sides"][arg0]

    def __eq__(self, arg0: object) -> bool:
        return isinstance(arg0, list | tuple) and tuple(arg0) == vars(self)["sides"]

    def __repr__(self) -> str:
        return str(vars(self)["sides"])

    __str__ = __repr__


class Logger:
    def __init__(self, min_severity: Any = None) -> None:
        self.state.min_severity = min_severity  # type: ignore[attr-defined]

    def log(self, severity: Any, msg: str) -> None:
        pass


class IHostMemory(bytearray):
    nbytes = property(lambda self: bytearray.__len__(self))

    @staticmethod
    def __enter__(this: Any) -> Any:
        return this

    @staticmethod
    def __exit__(this: Any, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        pass


class ITimingCache:
    def serialize(self: Any) -> Any:
        return host_memory(self.surface, self.state.data)

    def combine(self: Any, input_cache: Any, ignore_mismatch: bool) -> bool:
        self.state.data += input_cache.state.data
        return True


class ILayer:
    name = property(lambda self: self.state.name)
    type = property(lambda self: self.state.type)
    num_outputs = property(lambda self: len(self.state.outputs))
    precision_is_set = property(lambda self: hasattr(self.state, "precision"))

    def get_output(self: Any, index: int) -> Any:
        return self.state.outputs[index]

    def set_output_type(self: Any, index: int, dtype: Any) -> None:
        self.state.output_type = dtype


class ITensor:
    is_shape_tensor = False
    is_execution_tensor = True


class IOptimizationProfile:
    def set_shape(self: Any, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - TensorRT's own names
        self.state.shapes[input] = [tuple(shape) for shape in (min, opt, max)]

    def get_shape(self: Any, input: str) -> Any:  # noqa: A002
        return [dims(self.surface, shape) for shape in self.state.shapes[input]]

    def __bool__(self: Any) -> bool:
        return all(
            len(low) == len(best) == len(high) and all(a <= b <= c for a, b, c in zip(low, best, high, strict=True))
            for low, best, high in self.state.shapes.values()
        )


class INetworkDefinition:
    num_inputs = property(lambda self: len(self.state.inputs))
    num_outputs = property(lambda self: len(self.state.outputs))
    num_layers = property(lambda self: len(self.state.layers))

    def get_input(self: Any, index: int) -> Any:
        return self.state.inputs[index]

    def get_output(self: Any, index: int) -> Any:
        return self.state.outputs[index]

    def get_layer(self: Any, index: int) -> Any:
        return self.state.layers[index]

    def get_flag(self: Any, flag: Any) -> bool:
        return bool(self.state.flags >> int(flag) & 1)

    def __len__(self: Any) -> int:
        return len(self.state.layers)

    def __getitem__(self: Any, arg0: int) -> Any:
        return self.state.layers[arg0]
