"""The job `build`: ONNX to engine, through polygraphy."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from builder.engine import precision
from builder.engine.faults import JobError
from builder.engine.hearing import monitor_for
from builder.engine.libraries import Libraries
from builder.engine.network import checked_profiles, parsed, tensors


def built(libraries: Libraries, job: dict[str, Any]) -> dict[str, Any]:
    """Build and write an engine; the fields of `builder.engines.jobs.Built`.

    Raises:
        JobError: of any kind; `job["engine"]` is as it was.
    """
    begun = time.monotonic()
    choice = precision.chosen(libraries, job)
    libraries.hearing.telling.progress(0.0, "reading {}".format(Path(job["onnx"]).name))
    builder, network, parser = parsed(libraries, job["onnx"], choice.strongly_typed)
    profiles = checked_profiles(network, job["profiles"])
    if job.get("dla_core") is not None and any(shapes["min"] != shapes["max"] for shapes in profiles.values()):
        raise JobError("bad_input", "a DLA takes one shape alone: expected profiles with min, opt and max the same")
    with ExitStack() as files:
        cache = _Cache(files, job.get("timing_cache"))
        config = _config(libraries, job, choice, profiles, cache)(builder, network)
        if job.get("dla_core") is not None:
            config.DLA_core = job["dla_core"]
        cache.attach(config)
        libraries.hearing.telling.progress(None, "building")
        data = libraries.backend.EngineBytesFromNetwork((builder, network, parser), config=config)()
        size = _written(data, Path(job["engine"]))
        cache.keep(config)
    return {
        "engine_bytes": size,
        "seconds": round(time.monotonic() - begun, 3),
        "tensorrt": libraries.trt.__version__,
        "inputs": tensors(network.get_input, network.num_inputs),
        "outputs": tensors(network.get_output, network.num_outputs),
        "layers": network.num_layers,
        "dla_layers": _dla_layers(config, network) if job.get("dla_core") is not None else None,
        "notes": [*choice.notes, *cache.notes],
    }


def _config(
    libraries: Libraries, job: dict[str, Any], choice: precision.Choice, profiles: dict[str, Any], cache: _Cache
) -> Any:
    trt, backend = libraries.trt, libraries.backend
    profile = backend.Profile()
    for name, shapes in profiles.items():
        profile.add(name, min=shapes["min"], opt=shapes["opt"], max=shapes["max"])
    workspace = job.get("workspace_bytes")
    return backend.CreateConfig(
        fp16=choice.fp16,
        int8=choice.int8,
        profiles=[profile],
        memory_pool_limits=None if workspace is None else {trt.MemoryPoolType.WORKSPACE: workspace},
        load_timing_cache=cache.read,
        profiling_verbosity=trt.ProfilingVerbosity.LAYER_NAMES_ONLY,
        progress_monitor=monitor_for(trt, libraries.hearing),
        use_dla=job.get("dla_core") is not None,
        allow_gpu_fallback=True,
    )


class _Cache:
    """A timing cache by its path: `read`, if there is one, and replaced when an engine is built.

    An engine is no worse without: what goes wrong here is a note.
    """

    def __init__(self, files: ExitStack, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self.read = None
        self.notes: list[str] = []
        if self._path is not None and self._path.exists():
            try:
                self.read = files.enter_context(self._path.open("rb"))
            except OSError as exc:
                self.notes.append(f"{path} cannot be read ({exc.strerror or exc}): it begins anew")

    def attach(self, config: Any) -> None:
        """An empty cache in place of one that TensorRT did not take, so that the next build has a better one."""
        if self.read is not None and config.get_timing_cache() is None:
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
            self.notes.append(f"{self._path} is of another device or TensorRT: it begins anew")

    def keep(self, config: Any) -> None:
        """Whole, or not at all; and only one that has something in it."""
        if self._path is None:
            return
        data = config.get_timing_cache().serialize()
        if memoryview(data).nbytes == 0:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _written(data, self._path)
        except OSError as exc:
            self.notes.append(f"{self._path} cannot be written ({exc.strerror or exc}): the next build takes as long")


def _written(data: Any, path: Path) -> int:
    """Write aside, flush to disk, rename: what is there by this name is whole."""
    aside = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            size = file.write(data)
            if not size:
                raise JobError("internal", "TensorRT made an engine of no bytes; see the log")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        if aside.exists():
            aside.unlink()
    folder = os.open(str(path.parent), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size


def _dla_layers(config: Any, network: Any) -> int:
    return sum(bool(config.can_run_on_DLA(network.get_layer(index))) for index in range(network.num_layers))
