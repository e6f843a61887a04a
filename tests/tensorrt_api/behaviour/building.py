"""The builder and its configuration."""

import json
import os
import signal
import time
from typing import Any

from tests.tensorrt_api.behaviour.objects import GPU, MAGIC, fault, host_memory, log, made, release


class IBuilderConfig:
    DLA_core = -1
    avg_timing_iterations = 1
    num_optimization_profiles = property(lambda self: len(self.state.profiles))
    default_device_type = property(lambda self: getattr(self.state, "default_device_type", self.surface.DeviceType.GPU))
    engine_capability = property(lambda self: self.surface.EngineCapability.STANDARD)

    def set_flag(self: Any, flag: Any) -> None:
        self.state.set_flags.add(flag.name)

    def clear_flag(self: Any, flag: Any) -> None:
        self.state.set_flags.discard(flag.name)

    def get_flag(self: Any, flag: Any) -> bool:
        return flag.name in self.state.set_flags

    def get_quantization_flag(self: Any, flag: Any) -> bool:
        return False

    def get_preview_feature(self: Any, feature: Any) -> bool:
        return False

    def get_tactic_sources(self: Any) -> int:
        return 0

    def set_memory_pool_limit(self: Any, pool: Any, pool_size: int) -> None:
        self.state.pools[pool.name] = pool_size

    def get_memory_pool_limit(self: Any, pool: Any) -> int:
        return int(self.state.pools.get(pool.name, 1 << 30))

    def add_optimization_profile(self: Any, profile: Any) -> int:
        self.state.profiles.append(profile)
        return len(self.state.profiles) - 1

    def create_timing_cache(self: Any, serialized_timing_cache: Any) -> Any:
        data = bytes(serialized_timing_cache)
        if data and not data.startswith(b"timings"):
            return None
        return made(self.surface, "ITimingCache", data=data)

    def set_timing_cache(self: Any, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.state.data and self.surface.__version__.encode() not in cache.state.data and not ignore_mismatch:
            return False
        self.state.cache = cache
        return True

    def get_timing_cache(self: Any) -> Any:
        return self.state.cache

    def can_run_on_DLA(self: Any, layer: Any) -> bool:  # noqa: N802
        return bool(layer.type == self.surface.LayerType.CONVOLUTION)


class Builder:
    num_DLA_cores = property(lambda self: int(os.environ.get("RECORDED_TENSORRT_DLA", "0")))  # noqa: N815 - its name

    def __init__(self: Any, logger: Any) -> None:
        self.state.logger = logger

    def create_network(self: Any, flags: int = 0) -> Any:
        known = sum(1 << int(flag) for flag in self.surface.NetworkDefinitionCreationFlag.__members__.values())
        if flags & ~known:
            log(self.state.logger, "ERROR", f"Error Code 3: API Usage Error (flags {flags} are not known)")
            return None
        lists: dict[str, list[Any]] = {"inputs": [], "outputs": [], "layers": []}
        return made(self.surface, "INetworkDefinition", flags=flags, model=b"", **lists)

    def create_builder_config(self: Any) -> Any:
        flags = {"TF32"}  # as the real one begins
        return made(self.surface, "IBuilderConfig", set_flags=flags, pools={}, profiles=[], cache=None)

    def create_optimization_profile(self: Any) -> Any:
        return made(self.surface, "IOptimizationProfile", shapes={})

    def build_serialized_network(self: Any, network: Any, config: Any) -> Any:
        error = _refusal(self, network, config)
        if error is None and not _built(self, network, config):
            error = "Error Code 4: Internal Error (cancelled)"
        if error is not None:
            log(self.state.logger, "ERROR", error)
            return None
        if config.state.cache is not None:
            config.state.cache.state.data = f"timings {self.surface.__version__}".encode()
        shapes = config.state.profiles[0].state.shapes if config.state.profiles else {}
        header = {
            "tensorrt": self.surface.__version__,
            "gpu": os.environ.get(GPU, "8.7"),
            "flags": sorted(config.state.set_flags),
            "strongly_typed": bool(network.state.flags & _strongly_typed(self.surface)),
            "pools": config.state.pools,
            "shapes": shapes,
            "device": config.default_device_type.name,
            "dla_core": config.DLA_core,
        }
        return host_memory(self.surface, MAGIC + json.dumps(header).encode() + b"\n" + network.state.model)


def _strongly_typed(module: Any) -> int:
    flag = module.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    return 0 if flag is None else 1 << int(flag)


def _refusal(builder: Any, network: Any, config: Any) -> str | None:
    """What a real builder refuses: precision without its flag, a flag where types rule, a side without a profile."""
    module, flags = builder.surface, config.state.set_flags
    strong = release(module) >= (11, 0) or bool(network.state.flags & _strongly_typed(module))
    types = {tensor.dtype.name for layer in network.state.layers for tensor in layer.state.outputs if tensor}
    quantised = any(layer.type.name == "QUANTIZE" for layer in network.state.layers)
    if strong and flags & {"FP16", "INT8", "BF16", "FP8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}:
        return "Error Code 3: API Usage Error (precision flags are not allowed for strongly typed networks)"
    if not strong and "HALF" in types and "FP16" not in flags:
        return "Error Code 4: API Usage Error (fp16 precision has been set, but fp16 is not configured in the builder)"
    if not strong and quantised and "INT8" not in flags:
        return "Error Code 4: Internal Error (Int8 precision has been set, but int8 is not configured in the builder)"
    shapes = config.state.profiles[0].state.shapes if config.state.profiles else {}
    for tensor in network.state.inputs:
        if -1 in tuple(tensor.shape) and tensor.name not in shapes:
            return f"Error Code 4: API Usage Error (input {tensor.name}: dynamic, and no optimization profile)"
    if config.default_device_type.name == "DLA":
        if any(low != high for low, _, high in shapes.values()):
            return "Error Code 4: Internal Error (DLA does not support dynamic shapes)"
        if not config.DLA_core < builder.num_DLA_cores:
            return f"Error Code 3: API Usage Error (DLA core {config.DLA_core} is not there)"
    return None


def _built(builder: Any, network: Any, config: Any) -> bool:
    """Tell of progress as the version does; False where the monitor wants no more."""
    logger, steps = builder.state.logger, max(len(network.state.layers), 1)
    if fault("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault("slow"):
        time.sleep(60)
    if fault("out_of_memory"):
        log(
            logger,
            "ERROR",
            "[virtualMemoryBuffer.cpp::resizePhysical::160] Error Code 2: OutOfMemory (no further info)",
        )
        return False
    monitor = getattr(config.state, "progress_monitor", None)
    log(logger, "VERBOSE", f"After final dead-layer removal: {steps} layers")
    for layer in network.state.layers:
        log(logger, "VERBOSE", f"=============== Computing costs for {layer.name}")
    log(logger, "INFO", "Engine generation completed in 0.01 seconds.")
    if monitor is None:
        return True
    monitor.phase_start("Building Engine", None, 2)
    monitor.phase_start("Computing layer costs", "Building Engine", steps)
    going = [monitor.step_complete("Computing layer costs", step) for step in range(steps)]
    monitor.phase_finish("Computing layer costs")
    monitor.phase_finish("Building Engine")
    return all(going)
