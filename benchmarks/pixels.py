"""Preprocessing and postprocessing beside the mmdeploy SDK's own stages: same photo, same bundle, one run, one core.

    .venv/dev/bin/python -m benchmarks.pixels --out benchmarks/results/pixels-CONDITIONS.json

Three take turns on every iteration, in a shuffled order, each with the photo just decoded: the SDK (timed by its own
profiler), the model as it is served (normalisation folded into the graph) and as it is served with `--no-fold` (float
pixels). The networks run too, so that every stage starts with the caches a network leaves behind, and so that what
folding adds to the graph is seen.
"""

import argparse
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.sdk import ProfiledDetector
from builder.importer import Order, import_model
from gateway.memory import keep_freed_memory
from vision.contract import contract_from_json
from vision.decode import image_from_bytes
from vision.header import header_from_bytes
from vision.heads import Detections, detections_from_outputs
from vision.transforms import Preprocessor

BUNDLE = record.ROOT / "recipes/balloon-rtmdet/sdk"
PHOTO = record.ROOT / "tests/assets/balloons.jpg"
WARM_UP = 5
COMPARED = (
    "preprocess: from decoded pixels to what goes to the network; ours, as served, are 8-bit pixels, normalised and put"
    " into planes by the graph, which shows in `network`; with --no-fold both sides do the same. postprocess: from"
    " outputs to boxes on the photo"
)
MAX_PIXELS = 100_000_000
SETTLE_S = 0.01
"""Between turns: ONNX Runtime's threads go on spinning for a while after a run, on the one core that all share."""


class Served:
    """What the gateway does to one photo, with the network in this process; each stage's seconds are kept."""

    def __init__(self, version: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._contract = contract_from_json((version / "contract.json").read_bytes())
        self._session = onnxruntime.InferenceSession(
            version / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._preprocess = Preprocessor(self._contract)
        self.stages: dict[str, list[float]] = defaultdict(list)

    def __call__(self, photo: NDArray[np.uint8]) -> Detections:
        start = time.perf_counter()
        batch, geometries = self._preprocess.batch([photo])
        ready = time.perf_counter()
        names = [output.name for output in self._contract.outputs]
        arrays = self._session.run(names, {self._contract.input.name: batch})
        answered = time.perf_counter()
        outputs = {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}
        (found,) = detections_from_outputs(self._contract, outputs, geometries)
        for stage, seconds in (
            ("preprocess", ready - start),
            ("network", answered - ready),
            ("postprocess", time.perf_counter() - answered),
        ):
            self.stages[stage].append(seconds)
        return found


def served(bundle: Path, repository: Path, *, fold: bool) -> Served:
    """Import `bundle` as `make models` does and load what was published."""
    published = import_model(Order(bundle, "pixels", repository, fold=fold), lambda *_: None)
    return Served(published.folder / str(published.version))


def measure(bundle: Path, encoded: bytes, iterations: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Stages of all three, as percentiles in milliseconds."""
    sdk = ProfiledDetector(bundle, folder / "profile.txt")
    folded = served(bundle, folder / "folded", fold=True)
    floats = served(bundle, folder / "floats", fold=False)
    turns: list[Callable[[NDArray[np.uint8]], object]] = [sdk, folded, floats]
    order = random.Random(0)  # noqa: S311  # an order, not a secret
    for _ in range(WARM_UP + iterations):
        for turn in order.sample(turns, len(turns)):
            time.sleep(SETTLE_S)
            turn(image_from_bytes(encoded, max_pixels=MAX_PIXELS))
    theirs = sdk.close()
    sides = {
        "mmdeploy": {
            "preprocess": theirs["Compose"],
            "network": theirs["rtmdet"],
            "postprocess": theirs["postprocess"],
        },
        "ours": folded.stages,
        "ours, not folded": floats.stages,
    }
    result: dict[str, dict[str, Any]] = {}
    for side, stages in sides.items():
        kept = {stage: np.array(seconds[WARM_UP:]) for stage, seconds in stages.items()}
        kept["pixels"] = kept["preprocess"] + kept["postprocess"]
        result[side] = {stage: record.percentiles(seconds.tolist()) for stage, seconds in kept.items()}
    detail = {
        name: record.percentiles(theirs[name][WARM_UP:]) for name in ("Resize", "Normalize", "DefaultFormatBundle")
    }
    result["mmdeploy"]["of which"] = detail
    return result


def print_table(stages: dict[str, dict[str, Any]]) -> None:
    print(f"{'p50, ms':20}" + "".join(f"{side:>18}" for side in stages))
    for stage in ("preprocess", "postprocess", "pixels", "network"):
        print(f"{stage:20}" + "".join(f"{side[stage]['p50']:18.3f}" for side in stages.values()))


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and, with --out, record."""
    parser = argparse.ArgumentParser(prog="benchmarks.pixels", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="an mmdeploy SDK bundle of a detector")
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--out", type=Path, help="where to write the record")
    options = parser.parse_args(arguments)

    keep_freed_memory()  # as in the gateway, and for both sides
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})  # one core for everybody: the SDK's OpenCV has no other switch
    cv2.setNumThreads(1)
    encoded = options.photo.read_bytes()
    try:
        with tempfile.TemporaryDirectory() as folder:
            stages = measure(options.bundle, encoded, options.iterations, Path(folder))
    finally:
        os.sched_setaffinity(0, cores)
    pixels = {side: values["pixels"]["p50"] for side, values in stages.items()}
    ratios = {side: round(pixels["mmdeploy"] / ms, 2) for side, ms in pixels.items() if side != "mmdeploy"}
    print_table(stages)
    print("times faster than mmdeploy, preprocess + postprocess: " + ", ".join(f"{k} {v}" for k, v in ratios.items()))
    if options.out:
        header = header_from_bytes(encoded)
        record.write(
            options.out,
            {
                "benchmark": "pixels",
                "compared": COMPARED,
                "photo": {"name": options.photo.name, "width": header.width, "height": header.height},
                "model_sha256": record.sha256(options.bundle / "end2end.onnx"),
                "iterations": options.iterations,
                "threads": 1,
                "stages_ms": stages,
                "ratio_p50": ratios,
            },
        )


if __name__ == "__main__":
    main()
