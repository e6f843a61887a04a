"""`python -m builder engine MODEL.onnx`: one engine on this device, without a repository."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import onnx

from builder.commands.numbers import between
from builder.engines.jobs import STEP, BuildJob, Built, EngineError, ShapeRange
from builder.engines.program import EngineProgram
from builder.progress import Log, Progress, Step, say, show, terminal_if_any
from builder.recipes.parts import Precision
from vision.errors import BuildError

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
PARTS = 1000
"""TensorRT's progress is a fraction; bars count."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "engine",
        help="on the device: one TensorRT engine from an ONNX, or what TensorRT says of the device",
        description="Build one engine from an ONNX, on the device it is for; without an ONNX, describe its TensorRT."
        " `ensure` does this for a whole repository, proves each engine, and serves it.",
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("onnx", type=Path, nargs="?", metavar="MODEL.onnx", help="what to build; none describes the device as JSON")
    option("-o", "--output", type=Path, metavar="FILE", help="the engine (beside the ONNX, .plan)")
    option("--max-batch", type=between(1, 4096), default=8, metavar="N", help="of a free batch (%(default)s)")
    option(
        "--opt-batch", type=between(1, 4096), default=1, metavar="N", help="the batch to be fastest at (%(default)s)"
    )
    option("--precision", choices=PRECISIONS, default="fp32", help="the one that the ONNX has (%(default)s)")
    option("--by-flag", action="store_true", help="ask for the precision by flag: an FP32 ONNX, TensorRT before 11")
    option("--workspace", type=between(1, 1 << 20), metavar="MIB", help="the most that it may use (all there is)")
    option("--timing-cache", type=Path, metavar="FILE", help="read if it is there, and replaced by what was learned")
    option("--dla", type=between(0, 7), metavar="CORE", help="a DLA core, the GPU for what it cannot; fixed batch only")
    option("--python", type=Path, metavar="PROGRAM", help="the device's Python (JETSERVE_DEVICE_PYTHON)")
    option("--log", type=Path, metavar="FILE", help="keep what TensorRT says")


def run(options: argparse.Namespace) -> int:
    log = None if options.log is None else Log(options.log)
    if log is not None:
        log.begin("engine")
    engines = EngineProgram(options.python, log)
    if options.onnx is None:
        show(json.dumps(asdict(engines.describe()), indent=2) + "\n")
        return 0
    job = BuildJob(
        onnx=options.onnx,
        engine=options.output or options.onnx.with_suffix(".plan"),
        profiles=_profiles(options.onnx, options.max_batch, min(options.opt_batch, options.max_batch)),
        precision=options.precision,
        explicit=not options.by_flag,
        workspace_bytes=None if options.workspace is None else options.workspace << 20,
        timing_cache=options.timing_cache,
        dla_core=options.dla,
    )
    with Progress(say, log, terminal_if_any()).step(STEP) as step:
        built = engines.build(job, lambda fraction, text: _reached(step, fraction, text))
        step.done(_told(job, built))
        for note in built.notes:
            step.note(note)
    return 0


def _reached(step: Step, fraction: float | None, text: str) -> None:
    if fraction is not None:
        step.reached(round(fraction * PARTS), PARTS, text)


def _told(job: BuildJob, built: Built) -> str:
    dla = "" if built.dla_layers is None else f", {built.dla_layers} of them for the DLA"
    size = f"{built.engine_bytes / 1e6:.1f} MB in {built.seconds:.1f} s"
    return f"{job.engine}: {size}, TensorRT {built.tensorrt}, {built.layers} layers{dla}"


def _profiles(path: Path, most: int, best: int) -> dict[str, ShapeRange]:
    """A range for each input whose batch is free.

    Raises:
        EngineError: no ONNX, or another side is free.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror}") from exc
    except Exception as exc:
        raise EngineError("bad_input", f"{path} is no ONNX: {exc}") from exc
    constants = {tensor.name for tensor in graph.initializer}
    ranges = {}
    for value in graph.input:
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
        if value.name in constants or all(sides):
            continue
        if not all(sides[1:]):
            shown = ", ".join(str(side or "?") for side in sides)
            raise EngineError(
                "bad_input",
                f"input {value.name!r} is [{shown}]: only the batch may be free here; export it with a size",
            )
        low, opt, high = ((batch, *sides[1:]) for batch in (1, best, most))
        ranges[value.name] = ShapeRange(low, opt, high)
    return ranges
