"""What a recorded TensorRT does: it parses ONNX, wants the flags that the real one wants, and runs by ONNX Runtime.

An engine is the ONNX behind a header that names the TensorRT and the GPU it was built for. A class or function here is
the behaviour of the recorded one of its name: `self.state` is each object's own, `self.surface` the module with its
version's names. The environment variable RECORDED_TENSORRT_FAULT makes it fail as a device does: out_of_memory, killed,
slow, wrong_answers; RECORDED_TENSORRT_GPU is the compute capability, RECORDED_TENSORRT_DLA the number of DLA cores.
"""

from tests.tensorrt_api.behaviour.building import Builder, IBuilderConfig
from tests.tensorrt_api.behaviour.objects import (
    Dims,
    IHostMemory,
    ILayer,
    INetworkDefinition,
    IOptimizationProfile,
    ITensor,
    ITimingCache,
    Logger,
    init_libnvinfer_plugins,
)
from tests.tensorrt_api.behaviour.parsing import OnnxParser, ParserError
from tests.tensorrt_api.behaviour.running import ICudaEngine, IExecutionContext, Runtime

__all__ = [
    "Builder",
    "Dims",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "Logger",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "init_libnvinfer_plugins",
]
