"""The jobs that every version is given."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.builder.engines import graphs
from tests.builder.engines.devices import Bench

WORKSPACE = 300 << 20
RANGE = {"min": [1, 3, 4, 4], "opt": [2, 3, 4, 4], "max": [8, 3, 4, 4]}
FIXED = {key: [2, 3, 4, 4] for key in RANGE}
FP32 = {"plain": graphs.plain(), "fixed": graphs.plain(2), "custom": graphs.custom(), "bytes": graphs.bytes_in()}
GRAPHS = {
    **FP32,
    "half": graphs.half(),
    "quantised": graphs.quantised(),
    "half-fixed": graphs.half(2),
    "quantised-fixed": graphs.quantised(2),
}
CORES = {"RECORDED_TENSORRT_DLA": "2"}


def feed(batch: int = 3, dtype: type = np.float32) -> NDArray[Any]:
    return (np.arange(batch * 48, dtype=np.float32).reshape(batch, 3, 4, 4) % 7).astype(dtype)


def add_jobs(bench: Bench) -> None:
    for name, data in GRAPHS.items():
        bench.path(f"{name}.onnx").write_bytes(data)
    bench.path("not.onnx").write_text("no ONNX")
    bench.path("garbage.cache").write_bytes(b"no timing cache")
    bench.path("foreign.cache").write_bytes(b"timings of another")
    bench.path("garbage.plan").write_bytes(b"no engine")
    for name, values in {"good": feed(), "wide": feed(9), "double": feed(3, np.float64)}.items():
        _save(bench, name, {"tensor:input": values})
    _save(bench, "other", {"tensor:image": feed()})
    bench.add("describe", {"job": "describe"})
    bench.add("no-gpu", {"job": "describe", "environment": {"RECORDED_CUDA_ERROR": "100"}})
    _builds(bench)
    _refusals(bench)
    _runs(bench)


def _save(bench: Bench, name: str, arrays: dict[str, Any]) -> None:
    np.savez(bench.path(f"{name}.npz"), **arrays)


def _build(bench: Bench, name: str, onnx: str, **fields: Any) -> None:
    job = {"job": "build", "onnx": str(bench.path(onnx)), "engine": str(bench.path(f"{name}.plan"))}
    profiles = {} if "fixed" in onnx else {graphs.ENTRY: RANGE}
    bench.add(name, {**job, "profiles": profiles, **fields})


def _builds(bench: Bench) -> None:
    _build(bench, "plain", "plain.onnx", workspace_bytes=WORKSPACE)
    _build(bench, "half", "half.onnx", precision="fp16")
    _build(bench, "quantised", "quantised.onnx", precision="int8")
    _build(bench, "weak", "plain.onnx", precision="fp16", explicit=False)
    _build(bench, "fixed", "fixed.onnx")
    _build(bench, "bytes", "bytes.onnx")
    for cache in ("new", "garbage", "foreign"):
        _build(bench, f"{cache}-cache", "plain.onnx", timing_cache=str(bench.path(f"{cache}.cache")))
    _build(bench, "nowhere-cache", "plain.onnx", timing_cache=str(bench.path("plain.onnx") / "times"))
    dla: Mapping[str, Any] = {"precision": "fp16", "dla_core": 1}
    _build(bench, "dla", "half-fixed.onnx", environment=CORES, **dla)
    _build(bench, "dla-int8", "quantised-fixed.onnx", environment=CORES, precision="int8", dla_core=0)
    _build(bench, "no-dla", "half-fixed.onnx", **dla)


def _refusals(bench: Bench) -> None:
    _build(bench, "custom", "custom.onnx")
    _build(bench, "missing", "missing.onnx")
    _build(bench, "not", "not.onnx")
    _build(bench, "int8-by-flag", "plain.onnx", precision="int8", explicit=False)
    _build(bench, "no-profile", "plain.onnx", profiles={})
    _build(bench, "wrong-name", "plain.onnx", profiles={"image": RANGE})
    _build(bench, "wrong-range", "plain.onnx", profiles={graphs.ENTRY: {**RANGE, "min": [4, 3, 4, 4]}})
    _build(bench, "fp32-dla", "fixed.onnx", environment=CORES, dla_core=0)
    _build(bench, "wide-dla", "half.onnx", environment=CORES, precision="fp16", dla_core=0)
    _build(bench, "memory", "plain.onnx", environment={"RECORDED_TENSORRT_FAULT": "out_of_memory"})


def _runs(bench: Bench) -> None:
    def run(name: str, engine: str, feeds: list[str], **fields: Any) -> None:
        outputs = bench.path(f"{name}-outputs")
        outputs.mkdir()
        job = {"job": "run", "engine": str(bench.path(f"{engine}.plan")), "outputs": str(outputs)}
        bench.add(name, {**job, "feeds": [str(bench.path(f"{feed}.npz")) for feed in feeds], **fields})

    for engine in ("plain", "half", "quantised"):
        run(f"run-{engine}", engine, ["good", "good"], timed_runs=2 if engine == "plain" else 0)
    run("run-wide", "plain", ["wide"])
    run("run-double", "plain", ["double"])
    run("run-other", "plain", ["other"])
    run("run-garbage", "garbage", ["good"])
    run("run-elsewhere", "plain", ["good"], environment={"RECORDED_TENSORRT_GPU": "7.2"})
    run("run-full", "plain", ["good"], environment={"RECORDED_CUDA_FREE": "64"})
