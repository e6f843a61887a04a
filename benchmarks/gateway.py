"""What the gateway and Triton cost: a photo over HTTP beside decode, resize and bare ONNX Runtime, in one run.

One user, closed loop, the two taken in turns so that a noisy machine disturbs both. Needs a running server:

    make run-background && .venv/dev/bin/python -m benchmarks.gateway --out benchmarks/out/gateway.json
"""

import argparse
import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import onnxruntime

from benchmarks import record
from builder.publishing.repository import served_version
from gateway.memory import keep_freed_memory
from vision.contract import contract_from_json
from vision.transforms import Preprocessor

SETTLE_S = 0.05
"""ONNX Runtime's threads spin for a while after a run: let them stop before the other side's turn."""
PHOTO = record.ROOT / "tests/assets/balloons.jpg"


def bare_loop(version: Path, photo: bytes, threads: int) -> Callable[[], None]:
    """Decode, resize and run the published network in this process, as few steps as there can be."""
    preprocess = Preprocessor(contract_from_json((version / "contract.json").read_bytes()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(version / "model.onnx", options, providers=["CPUExecutionProvider"])
    name, encoded = session.get_inputs()[0].name, np.frombuffer(photo, np.uint8)

    def once() -> None:
        batch, _ = preprocess.batch([cv2.imdecode(encoded, cv2.IMREAD_COLOR)])
        session.run(None, {name: batch})

    return once


class Poster:
    """Posts one photo over a kept-alive connection and keeps the phases that the server reports."""

    def __init__(self, url: str, model: str, photo: bytes) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self.path, self.photo = f"/v1/models/{model}/predict", photo
        self.phases: dict[str, list[float]] = {}

    def __call__(self) -> None:
        self.connection.request("POST", self.path, self.photo, {"content-type": "image/jpeg"})
        answer = json.loads(self.connection.getresponse().read())
        if "results" not in answer:
            raise RuntimeError(f"the gateway answered {answer}")
        for phase, ms in answer["timings_ms"].items():
            self.phases.setdefault(phase, []).append(ms / 1e3)


def timed(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    keep_freed_memory()  # as the gateway does: the bare loop shall be as quick as it can be
    photo = arguments.photo.read_bytes()
    model = arguments.repository / arguments.model
    version = model / str(served_version(model))
    bare, post = bare_loop(version, photo, arguments.threads), Poster(arguments.url, arguments.model, photo)
    for _ in range(20):
        bare(), post()
    post.phases.clear()
    bare_s, http_s = [], []
    for _ in range(arguments.rounds):
        for action, seconds in ((bare, bare_s), (post, http_s)):
            time.sleep(SETTLE_S)
            seconds += [timed(action) for _ in range(10)]
    both = {"bare": record.percentiles(bare_s), "http": record.percentiles(http_s)}
    return {
        "load": {"users": 1, "loop": "closed", "requests": len(http_s), "failures": 0},
        "photo": {"name": arguments.photo.name, "bytes": len(photo)},
        "model": {"name": arguments.model, "sha256": record.sha256(version / "model.onnx")},
        "threads": arguments.threads,
        "ms": both,
        "overhead_p50_ms": round(both["http"]["p50"] - both["bare"]["p50"], 3),
        "phases_ms": {phase: record.percentiles(values) for phase, values in post.phases.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="balloon")
    parser.add_argument("--repository", type=Path, default=record.ROOT / "model_repository")
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument(
        "--threads", type=int, default=0, help="of ONNX Runtime in the bare loop; 0: all cores, as served"
    )
    parser.add_argument("--rounds", type=int, default=30, help="of ten requests each")
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/gateway.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    for name, figures in result["ms"].items():
        print(f"{name:6}", *(f"{key} {value:8.2f} ms" for key, value in figures.items()))
    print(f"the gateway and Triton cost {result['overhead_p50_ms']} ms a photo at p50; phases at p50:")
    print("  ", ", ".join(f"{phase} {figures['p50']}" for phase, figures in result["phases_ms"].items()))
    record.write(arguments.out, result)


if __name__ == "__main__":
    main()
