"""The job `run`: feeds through an engine, for parity on the device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np

from builder.engine import bindings
from builder.engine.faults import JobError
from builder.engine.libraries import Libraries

NAMED_TENSORS_SINCE = (8, 5)
OUTSIDE = "failed to set shape"
"""What polygraphy says of a shape that TensorRT does not take."""
WARM_UP = 3
PREFIX = "tensor:"
"""Of names in the files: a tensor may have a name that NumPy's `savez` takes for one of its own arguments."""
Arrays = Dict[str, Any]


def ran(libraries: Libraries, job: dict[str, Any]) -> dict[str, Any]:
    """Write the outputs of each feed; `milliseconds` are of whole inferences, copies to and from the GPU included.

    Raises:
        JobError: version_mismatch, bad_input, out_of_memory, no_gpu, internal.
    """
    engine = _engine(libraries, job["engine"])
    folder = Path(job["outputs"])
    feeds = [_feed(path) for path in job["feeds"]]
    if libraries.release < NAMED_TENSORS_SINCE:
        with bindings.Context(libraries, engine) as context:
            return _ran(feeds, context.inputs, context.infer, folder, job.get("timed_runs", 0))
    with libraries.backend.TrtRunner(engine) as runner:
        metadata = runner.get_input_metadata()
        inputs = {name: (str(np.dtype(entry.dtype)), tuple(entry.shape)) for name, entry in metadata.items()}

        def infer(feed: Arrays) -> Arrays:
            try:
                outputs: Arrays = runner.infer(feed, check_inputs=False)
            except libraries.polygraphy_error as exc:
                if OUTSIDE in str(exc):
                    raise JobError("bad_input", bindings.outside(feed)) from exc
                raise
            return outputs

        return _ran(feeds, inputs, infer, folder, job.get("timed_runs", 0))


def _engine(libraries: Libraries, path: str) -> Any:
    data = Path(path).read_bytes()
    runtime = libraries.trt.Runtime(libraries.logger)
    try:
        return libraries.backend.EngineFromBytes(data, runtime=runtime)()
    except libraries.polygraphy_error as exc:
        if libraries.hearing.lacked_memory:
            raise
        raise JobError(
            "version_mismatch",
            f"{path} is no engine for TensorRT {libraries.trt.__version__} on this GPU"
            f" ({libraries.hearing.last_words()}); build it here",
        ) from exc


def _ran(
    feeds: list[Arrays], inputs: dict[str, Any], infer: Callable[[Arrays], Arrays], folder: Path, timed_runs: int
) -> dict[str, Any]:
    for number, feed in enumerate(feeds):
        _check(feed, inputs)
        with (folder / f"{number:05}.npz").open("wb") as file:
            np.savez(file, **{PREFIX + name: array for name, array in infer(feed).items()})
    milliseconds = []
    for number in range(timed_runs and timed_runs + WARM_UP):
        begun = time.perf_counter()
        infer(feeds[0])
        if number >= WARM_UP:
            milliseconds.append(round((time.perf_counter() - begun) * 1e3, 4))
    return {"feeds": len(feeds), "milliseconds": milliseconds}


def _feed(path: str) -> Arrays:
    with np.load(path) as file:
        return {name[len(PREFIX) :]: np.ascontiguousarray(file[name]) for name in file.files}


def _check(feed: Arrays, inputs: dict[str, Any]) -> None:
    if set(feed) != set(inputs):
        text = "expected inputs {}, came {}"
        raise JobError("bad_input", text.format(", ".join(sorted(inputs)), ", ".join(sorted(feed))))
    for name, (dtype, shape) in inputs.items():
        came = feed[name]
        fits = len(came.shape) == len(shape) and all(side in (-1, own) for side, own in zip(shape, came.shape))
        if came.dtype.name != dtype or not fits:
            text = "input {}: expected {} {}, came {} {}"
            raise JobError("bad_input", text.format(name, dtype, tuple(shape), came.dtype.name, came.shape))
