"""In the place of a device's Python: does the jobs of `builder/engine`, its engines being the ONNX itself.

    standin.py builder/engine JOB.json

The file that $STANDIN names says what device it is, and what goes wrong:

    tensorrt, cuda, gpu, compute_capability      of the device; an engine is refused by another
    slow_s                                       a build takes so long
    stuck_at                                     a build takes an hour for this step, 0 … 4
    die_at                                       SIGKILL itself at this point: describe, 0 … 4 of a build, written, run
    built_by                                     the TensorRT that builds, where it is another
    memory                                       a build with more workspace than this runs out of memory
    fail                                         [kind, detail] of a build
    scale                                        every FP32 output of its engines is multiplied by this
    scale_batch                                  the same, of batches above one only
    loses                                        outputs that its engines lack
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

MAGIC = b"stand-in engine\n"
PREFIX = "tensor:"
STEPS = 4
DEVICE = {
    "tensorrt": "10.3.0",
    "cuda": "12.6",
    "gpu": "Orin",
    "compute_capability": "8.7",
}


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def die_at(point: str, behaviour: dict[str, Any]) -> None:
    if behaviour.get("die_at") == point:
        os.kill(os.getpid(), signal.SIGKILL)


def fail(kind: str, detail: str) -> None:
    tell({"error": {"kind": kind, "detail": detail}})
    sys.exit(1)


def build(job: dict[str, Any], behaviour: dict[str, Any]) -> dict[str, Any]:
    begun = time.monotonic()
    for step in range(STEPS + 1):
        tell({"progress": step / STEPS, "text": f"step {step}"})
        die_at(str(step), behaviour)
        time.sleep(3600 if behaviour.get("stuck_at") == step else behaviour.get("slow_s", 0) / STEPS)
    if job["workspace_bytes"] > behaviour.get("memory", job["workspace_bytes"]):
        fail("out_of_memory", "memory ran out")
    if "fail" in behaviour:
        fail(*behaviour["fail"])
    data = Path(job["onnx"]).read_bytes()
    contract = json.loads(Path(job["onnx"]).with_name("contract.json").read_text())
    about = {name: behaviour.get(name, value) for name, value in DEVICE.items()}
    about |= {name: behaviour[name] for name in ("scale", "scale_batch", "loses") if name in behaviour}
    content = MAGIC + json.dumps(about).encode() + b"\n" + data
    Path(job["timing_cache"]).write_bytes(b"timing")
    aside = Path(job["engine"]).with_suffix(".part")
    aside.write_bytes(content)
    die_at("written", behaviour)
    aside.replace(job["engine"])
    return {
        "engine_bytes": len(content),
        "seconds": time.monotonic() - begun,
        "tensorrt": behaviour.get("built_by", about["tensorrt"]),
        "inputs": [tensor(contract["input"])],
        "outputs": [tensor(output) for output in contract["outputs"] if output["name"] not in about.get("loses", ())],
        "layers": 3,
        "dla_layers": None,
        "notes": [],
    }


def tensor(described: dict[str, Any]) -> dict[str, Any]:
    """From the contract beside the ONNX: reading the graph takes longer than anything else here."""
    dtype = {"FP32": "float32", "INT64": "int64", "INT32": "int32", "UINT8": "uint8"}[described["dtype"]]
    return {"name": described["name"], "dtype": dtype, "shape": [-1, *described["shape"]]}


def run(job: dict[str, Any], behaviour: dict[str, Any]) -> dict[str, Any]:
    die_at("run", behaviour)
    import numpy as np
    import onnxruntime as ort

    head, _, graph = Path(job["engine"]).read_bytes().removeprefix(MAGIC).partition(b"\n")
    about = json.loads(head)
    if any(about[name] != behaviour.get(name, value) for name, value in DEVICE.items()):
        fail("version_mismatch", "the engine is of another device")
    session = ort.InferenceSession(graph)
    names = [output.name for output in session.get_outputs() if output.name not in about.get("loses", ())]
    for number, path in enumerate(job["feeds"]):
        with np.load(path) as file:
            feed = {name.removeprefix(PREFIX): file[name] for name in file.files}
        batch = len(next(iter(feed.values())))
        scale = np.float32(about.get("scale", 1) * (about.get("scale_batch", 1) if batch > 1 else 1))
        values = dict(zip(names, session.run(names, feed), strict=True))
        scaled = {
            PREFIX + name: value * scale if value.dtype == np.float32 else value for name, value in values.items()
        }
        np.savez(Path(job["outputs"]) / f"{number:05}.npz", **scaled)
    return {"feeds": len(job["feeds"]), "milliseconds": [1.0] * job["timed_runs"]}


def describe(job: dict[str, Any], behaviour: dict[str, Any]) -> dict[str, Any]:
    die_at("describe", behaviour)
    device = {name: behaviour.get(name, value) for name, value in DEVICE.items()}
    python, memory = "{}.{}".format(*sys.version_info), 2**33
    more = {"polygraphy": None, "numpy": "1.26", "python": python, "dla_cores": 0}
    return {**device, **more, "free_bytes": memory, "total_bytes": memory}


def end_with_builder() -> None:
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    if sys.argv[1] == "-c":  # asked for its TensorRT as an interpreter: it is none
        sys.exit(1)
    threading.Thread(target=end_with_builder, daemon=True).start()
    behaviour = json.loads(Path(os.environ["STANDIN"]).read_text())
    job = json.loads(Path(sys.argv[-1]).read_text())
    tell({"result": {"describe": describe, "build": build, "run": run}[job["job"]](job, behaviour)})


if __name__ == "__main__":
    main()
