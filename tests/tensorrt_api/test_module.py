"""The recorded module refuses what its version lacks: else the tests that stand on it would prove nothing."""

import sys
from types import ModuleType
from typing import Any

import pytest

from tests.tensorrt_api.module import module_of
from tests.tensorrt_api.surface import surface_of, versions

RELEASES = {version: tuple(map(int, version.split(".")))[:2] for version in versions()}
SINCE = {
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": ((0, 0), (11, 0)),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ((10, 0), None),
    "BuilderFlag.FP16": ((0, 0), (11, 0)),
    "BuilderFlag.INT8": ((0, 0), (11, 0)),
    "BuilderFlag.STRICT_TYPES": ((0, 0), (10, 0)),
    "BuilderFlag.VERSION_COMPATIBLE": ((8, 6), None),
    "IBuilderConfig.max_workspace_size": ((0, 0), (10, 0)),
    "IBuilderConfig.int8_calibrator": ((0, 0), (11, 0)),
    "IBuilderConfig.set_memory_pool_limit": ((0, 0), None),
    "IBuilderConfig.progress_monitor": ((10, 0), None),
    "ICudaEngine.num_bindings": ((0, 0), (10, 0)),
    "ICudaEngine.num_io_tensors": ((8, 5), None),
    "IExecutionContext.execute_async_v2": ((0, 0), (10, 0)),
    "IExecutionContext.execute_async_v3": ((8, 5), None),
    "IOutputAllocator": ((8, 5), None),
    "IProgressMonitor": ((10, 0), None),
    "ParserError.node_name": ((10, 0), None),
    "DataType.UINT8": ((8, 5), None),
    "DataType.INT64": ((10, 0), None),
    "IInt8EntropyCalibrator2": ((0, 0), (11, 0)),
}
"""Names that came or went among the recorded versions, with the first that has them and the first that does not: from
NVIDIA's release notes and migration guide, and not from the recordings."""


def found(module: ModuleType, path: str) -> bool:
    value: Any = module
    for name in path.split("."):
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


@pytest.fixture(scope="module", params=versions())
def trt(request: pytest.FixtureRequest) -> ModuleType:
    return module_of(surface_of(request.param))


def test_jetpacks_versions_are_recorded() -> None:
    """8.4 and 8.5 of JetPack 5, 8.6 and 10.3 of 6, 10.13 of 7, and what comes after them."""
    assert {(8, 4), (8, 5), (8, 6), (10, 3), (10, 7), (10, 13), (10, 16), (11, 4)} <= set(RELEASES.values())


@pytest.mark.parametrize("path", SINCE)
def test_names_come_and_go_with_their_versions(trt: ModuleType, path: str) -> None:
    since, until = SINCE[path]
    release = RELEASES[trt.__version__]
    assert found(trt, path) == (since <= release and (until is None or release < until))


def builder(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]  # the module has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            pass

    return trt.Builder(Logger())


def test_arguments_are_those_that_were_recorded(trt: Any) -> None:
    """Count, keywords and types; a number is no flag, and a float no number."""
    config = builder(trt).create_builder_config()
    config.set_flag(trt.BuilderFlag.TF32)
    config.set_flag(flag=trt.BuilderFlag.TF32)
    for arguments, named in (((), {}), ((0,), {}), ((trt.BuilderFlag.TF32, 1), {}), ((), {"flags": 1})):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            config.set_flag(*arguments, **named)
    with pytest.raises(TypeError):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5)
    with pytest.raises(TypeError):
        builder(trt).create_network(strongly_typed=True)


def test_what_was_not_recorded_cannot_be_set(trt: Any) -> None:
    """As pybind11's classes refuse it, and an attribute that can only be read."""
    config = builder(trt).create_builder_config()
    with pytest.raises(AttributeError):
        config.max_workspace = 1
    with pytest.raises(AttributeError):
        config.num_optimization_profiles = 1


def test_interfaces_must_be_initialised(trt: Any) -> None:
    """The real ones crash without it."""

    class Silent(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError):
        trt.Builder(Silent())
    with pytest.raises(TypeError, match="No constructor"):
        trt.ICudaEngine()


def test_nothing_real_is_in_the_way() -> None:
    """These tests say nothing of a TensorRT that is installed."""
    assert "tensorrt" not in sys.modules
