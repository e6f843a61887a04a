"""The engine program, `builder/engine`, as a process of the device's own Python."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.children import death, errors_of, lines_of, process_group, tail
from builder.engines.answers import built_from_result, described_from_result, error_from_answer
from builder.engines.jobs import BuildJob, Built, Described, EngineError, Feed, OnProgress, Ran
from builder.progress import Log
from builder.scratch import scratch_folder

CHECKOUT = Path(__file__).parents[2]
PROGRAM = CHECKOUT / "builder" / "engine"
PREFIX = "tensor:"
VARIABLE = "JETSERVE_DEVICE_PYTHON"
PYTHONS = (CHECKOUT / ".venv" / "device" / "bin" / "python", Path("/usr/bin/python3"))
"""Where the device's Python is looked for: an environment with polygraphy over the system's, or the system's own."""
DESCRIBE_TIMEOUT_S = 120.0
BUILD_TIMEOUT_S = 4 * 3600.0
"""A detector in INT8 on an Orin Nano takes the better part of an hour."""
RUN_TIMEOUT_S = 900.0
LESS_MEMORY = (
    "the kernel does so when memory runs out: stop what else uses memory (Triton, a desktop), lower the workspace"
    " limit, build with a smaller batch, or add swap"
)


def device_python(python: Path | None = None) -> Path:
    """The interpreter that has TensorRT: the one given, `JETSERVE_DEVICE_PYTHON`, `.venv/device`, `/usr/bin/python3`.

    Raises:
        EngineError: no_tensorrt, the one that was named is no program, or there is none.
    """
    named = python or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    for candidate in (named,) if named else PYTHONS:
        if os.access(candidate, os.X_OK) and not candidate.is_dir():
            return candidate
    where = f"{named} is no program" if named else f"none of {', '.join(map(str, PYTHONS))} is there"
    raise EngineError("no_tensorrt", f"{where}: name the Python that imports tensorrt with {VARIABLE}")


class EngineProgram:
    """Does what `builder.engines.jobs.Engines` asks, each in a process of its own that ends with the job.

    The process is a group of its own: interrupted, timed out or failed, nothing of it stays. Standard error, with all
    that TensorRT logs, goes into `log`.
    """

    def __init__(
        self,
        python: Path | None = None,
        log: Log | None = None,
        build_timeout_s: float = BUILD_TIMEOUT_S,
        run_timeout_s: float = RUN_TIMEOUT_S,
    ) -> None:
        """`python` is the device's interpreter; None looks for it (`device_python`)."""
        self.python = python
        self.log = log
        self.build_timeout_s = build_timeout_s
        self.run_timeout_s = run_timeout_s

    def describe(self) -> Described:
        return described_from_result(self._result({"job": "describe"}, DESCRIBE_TIMEOUT_S))

    def build(self, job: BuildJob, on_progress: OnProgress) -> Built:
        fields = {
            "job": "build",
            "onnx": str(job.onnx.resolve()),
            "engine": str(job.engine.resolve()),
            "profiles": {
                name: {"min": shapes.min, "opt": shapes.opt, "max": shapes.max} for name, shapes in job.profiles.items()
            },
            "precision": job.precision,
            "explicit": job.explicit,
            "workspace_bytes": job.workspace_bytes,
            "timing_cache": None if job.timing_cache is None else str(job.timing_cache.resolve()),
            "dla_core": job.dla_core,
        }
        return built_from_result(self._result(fields, self.build_timeout_s, on_progress))

    def run(self, engine: Path, feeds: Sequence[Feed], timed_runs: int = 0) -> Ran:
        if not feeds:
            raise EngineError("bad_input", "expected at least one feed, came none")
        with scratch_folder("job") as folder:
            paths = [folder / f"feed-{number:05}.npz" for number in range(len(feeds))]
            for path, feed in zip(paths, feeds, strict=True):
                arrays: dict[str, Any] = {PREFIX + name: array for name, array in feed.items()}
                np.savez(path, **arrays)
            outputs = folder / "outputs"
            outputs.mkdir()
            fields = {
                "job": "run",
                "engine": str(engine.resolve()),
                "feeds": [str(path) for path in paths],
                "outputs": str(outputs),
                "timed_runs": timed_runs,
            }
            result = self._result(fields, self.run_timeout_s)
            made = [_arrays(outputs / f"{number:05}.npz") for number in range(len(feeds))]
        return Ran(tuple(made), tuple(result["milliseconds"]))

    def _result(
        self, job: Mapping[str, Any], timeout_s: float, on_progress: OnProgress = lambda *_: None
    ) -> dict[str, Any]:
        """The result of one job.

        Raises:
            EngineError: the job says what is wrong, its process died, or it took too long.
        """
        command = [str(device_python(self.python)), "-I", str(PROGRAM)]
        with scratch_folder("job") as folder, errors_of(self.log) as errors:
            path = folder / "job.json"
            path.write_text(json.dumps(job))
            with (
                process_group([*command, str(path)], errors, _environment()) as process,
                _killed_after(timeout_s, process) as is_late,
            ):
                result, error = _answer(process, on_progress)
            if error is not None:
                raise error
            if result is not None and process.returncode == 0:
                return result
            raise _lost(process.returncode, str(job["job"]), timeout_s if is_late() else None, tail(errors))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as file:
        return {name.removeprefix(PREFIX): file[name] for name in file.files}


def _environment() -> Mapping[str, str]:
    return {
        "CUDA_MODULE_LOADING": "LAZY",  # hundreds of megabytes less, which CUDA before 12.2 does not do by itself
        **os.environ,
        "JETSERVE_WORKER": "1",
    }


def _answer(
    process: subprocess.Popen[str], on_progress: OnProgress
) -> tuple[dict[str, Any] | None, EngineError | None]:
    """Pass on progress until the process ends; its result or its error, if it told one."""
    result: dict[str, Any] | None = None
    error: EngineError | None = None
    for told in lines_of(process):
        match told:
            case {"progress": int() | float() | None as fraction, "text": str(text)}:
                on_progress(fraction, text)
            case {"result": dict() as fields}:
                result = fields
            case {"error": dict() as fields}:
                error = error_from_answer(fields)
    return result, error


def _lost(code: int, job: str, timeout_s: float | None, last_lines: str) -> EngineError:
    """The error of a process that ended without a word."""
    if timeout_s is not None:
        return EngineError(
            "timeout", f"{job} took longer than {timeout_s:g} s, and was ended. Its last lines:\n{last_lines}"
        )
    how = death("the engine program", code)
    if code == -signal.SIGKILL:
        return EngineError(
            "out_of_memory", f"the engine program was ended by SIGKILL; {LESS_MEMORY}. {_last(last_lines)}"
        )
    return EngineError("internal", f"{how}. {_last(last_lines)}")


def _last(lines: str) -> str:
    return f"Its last lines:\n{lines}"


@contextmanager
def _killed_after(timeout_s: float, process: subprocess.Popen[str]) -> Iterator[Callable[[], bool]]:
    """The whole group is killed when time is up; yields whether it was."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout_s, kill)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()
        timer.join()
