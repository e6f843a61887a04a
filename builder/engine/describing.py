"""The job `describe`: what this device and its TensorRT are."""

from __future__ import annotations

import ctypes
import platform
from typing import Any

from builder.engine.faults import NO_GPU, JobError
from builder.engine.libraries import Libraries

COMPUTE_CAPABILITY = (75, 76)
"""`cudaDevAttrComputeCapabilityMajor` and `…Minor`."""
PROPERTIES_BYTES = 8192
"""`cudaDeviceProp` is of another size in every CUDA (1 kB at most so far) and begins with the name in all of them."""


def described(libraries: Libraries) -> dict[str, Any]:
    """The fields of `builder.engines.jobs.Described`.

    Raises:
        JobError: no_gpu.
    """
    import numpy

    try:
        cudart = libraries.cuda.wrapper().handle
    except Exception as exc:
        raise JobError("no_gpu", f"the CUDA runtime cannot be loaded ({exc}); {NO_GPU}") from exc
    _called(cudart, "cudaGetDeviceCount", ctypes.byref(ctypes.c_int()))
    free, total, runtime = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_int()
    _called(cudart, "cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
    _called(cudart, "cudaRuntimeGetVersion", ctypes.byref(runtime))
    properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
    _called(cudart, "cudaGetDeviceProperties", properties, 0)
    capability = []
    for attribute in COMPUTE_CAPABILITY:
        value = ctypes.c_int()
        _called(cudart, "cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
        capability.append(str(value.value))
    return {
        "tensorrt": libraries.trt.__version__,
        "polygraphy": libraries.polygraphy,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "cuda": f"{runtime.value // 1000}.{runtime.value % 1000 // 10}",
        "gpu": properties.value.decode(errors="replace"),
        "compute_capability": ".".join(capability),
        "dla_cores": max(libraries.trt.Runtime(libraries.logger).num_DLA_cores, 0),
        "free_bytes": free.value,
        "total_bytes": total.value,
    }


def _called(cudart: Any, function: str, *arguments: Any) -> None:
    code = getattr(cudart, function)(*arguments)
    if code != 0:
        cudart.cudaGetErrorString.restype = ctypes.c_char_p
        reason = (cudart.cudaGetErrorString(code) or b"").decode(errors="replace")
        raise JobError("no_gpu", f"{function} says {code} ({reason}); {NO_GPU}")
