"""`ensure`: an engine that fits this device for every artefact, before the first request."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from builder.commands.numbers import between
from builder.device import Device, device_from_system
from builder.devices.machine import memory_limit_of, memory_of
from builder.devices.tree import Tree
from builder.engines.program import EngineProgram
from builder.ensure.artefacts import Incomplete, artefacts_of, stamp_of
from builder.ensure.control import TritonControl
from builder.ensure.decision import decision, strays
from builder.ensure.installation import Installer
from builder.ensure.keeping import keep
from builder.ensure.order import Order, Surroundings
from builder.ensure.preflight import LEAST_WORKSPACE_BYTES, MIB, WANTED_WORKSPACE_BYTES, memory_plan
from builder.ensure.run import Pass, identified, plan_told, repository_of
from builder.ensure.watching import EVERY_S, Watch
from builder.ensure.workplace import Workplace, workplace
from builder.progress import Log, Progress, say, terminal_if_any
from builder.scratch import sweep
from vision.errors import BuildError, JetserveError

STEP = "ensure"
MOST_WORKSPACE_MIB = 64 * 1024
MOST_CORE = 7


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "ensure",
        help="on the device: build, prove and serve the engines that are missing or do not fit",
        description="Compare every artefact with the engine that is served, build what is missing or does not fit this "
        "device, hold it against the ONNX's golden outputs, and publish it. What fails leaves the last good version"
        " served. Ends with 0 if every artefact is served, 1 if one is not.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add(
        "--from",
        dest="artefacts",
        type=Path,
        default=Path("model_repository_jetson"),
        metavar="ARTEFACTS",
        help="what `build --target jetson` has published on a PC (%(default)s)",
    )
    add("--repository", type=Path, default=Path("model_repository"), help="what Triton serves (%(default)s)")
    add("--work", type=Path, metavar="FOLDER", help="for timing caches, logs and scratch (REPOSITORY.work)")
    add(
        "--workspace",
        type=between(LEAST_WORKSPACE_BYTES // MIB, MOST_WORKSPACE_MIB),
        default=WANTED_WORKSPACE_BYTES // MIB,
        metavar="MIB",
        help="of memory that TensorRT may try tactics in; less is taken where memory is short (%(default)s)",
    )
    add(
        "--dla",
        type=between(0, MOST_CORE),
        metavar="CORE",
        help="build for this DLA core, the GPU takes what it cannot",
    )
    add("--dry-run", action="store_true", help="say what would be done and why, and change nothing")
    add("--device", type=Path, metavar="REPORT", help="with --dry-run: of another machine, as `doctor` wrote it")
    add("--watch", action="store_true", help="go on, and take artefacts that arrive later")
    add(
        "--every",
        type=float,
        default=EVERY_S,
        metavar="S",
        help="with --watch: seconds between two looks (%(default)s)",
    )
    add("--triton", metavar="URL", help="have this Triton load what is new: its HTTP, http://127.0.0.1:8000")
    add(
        "--then",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="become this command when all is done, whatever failed; with --watch, another process watches beside it",
    )


def run(options: argparse.Namespace) -> int:
    if options.device is not None and not options.dry_run:
        raise BuildError("read", "--device is for --dry-run: engines are built on the device that they are for")
    order = Order(options.artefacts, options.repository, options.workspace * MIB, options.dla)
    if options.dry_run:
        return _dry_run(order, _reported(options.device) if options.device else device_from_system())
    if options.then is not None:
        _become(_program(options.then), order, options)
    return _ensured(order, options)


def _become(program: str, order: Order, options: argparse.Namespace) -> NoReturn:
    """Ensure, and then be that program, whatever failed; with `--watch` a child goes on watching, and ends with it."""
    own = os.getpid()
    try:
        _ensured(order, options)
    except (JetserveError, OSError) as exc:  # no artefacts, no TensorRT, a full disk: what was served is served still
        then = "what is served is served still"
        if os.getpid() == own:
            watched = ", and nobody watches for artefacts" if options.watch else ""
            then = f"what comes next starts with what is in {order.repository}{watched}"
        why = f"{STEP}: {exc.filename or 'no file named'}: {exc.strerror or exc}" if isinstance(exc, OSError) else exc
        sys.stderr.write(f"failed at {why}; {then}\n")
    sys.stdout.flush()
    if os.getpid() != own:
        os._exit(0)
    os.execv(program, options.then)  # noqa: S606  # becomes Triton, with this process's id


def _ensured(order: Order, options: argparse.Namespace) -> int:
    """One pass, and then, if that is wanted, what comes later; the exit code.

    With `--then` what comes later is for a child, which knows what the pass has tried and still holds its lock. It sees
    to it that there is always one who watches.
    """
    parent = None if options.then is None else os.getpid()
    repository_of(order.repository)
    sweep()
    with workplace(options.work or Path(f"{order.repository}.work")) as place:
        log = Log(place.log())
        with suppress(OSError):  # a full disk, say: what fits already needs no log, and the rest is tried again later
            log.begin(f"ensure: {' '.join(sys.argv[1:])}")
        progress = Progress(say, log, terminal_if_any())
        pass_of = _pass_of(order, place, progress, options.triton)
        stamps = dict(stamp_of(order.artefacts))
        first = pass_of()
        outcomes = (first if parent is None else first.without_triton()).all()
        if options.watch and (parent is None or os.fork() == 0):
            place.take_over()
            watch = Watch(pass_of, max(0.1, options.every))
            watch.begin(stamps, outcomes)
            if parent is None:
                watch.forever()
            else:
                keep(_watching(watch, place), parent)
    return int(not all(outcome.is_served for outcome in outcomes))


def _watching(watch: Watch, place: Workplace) -> Callable[[int], None]:
    def until_ended(parent: int) -> None:
        place.sweep()  # what one that was killed has left
        sweep()
        watch.parent = parent
        watch.forever()

    return until_ended


def _pass_of(order: Order, place: Workplace, progress: Progress, triton: str | None) -> Callable[[], Pass]:
    engines = EngineProgram(log=progress.log)
    control = None if triton is None else TritonControl(triton)
    found: list[Device] = []

    def available_bytes() -> int:
        tree = Tree(Path("/"))
        limit, available = memory_limit_of(tree), memory_of(tree).available_bytes
        return available if limit is None else min(available, limit)

    def pass_of() -> Pass:
        if not found:  # a device changes with a restart only
            found.append(identified(device_from_system(folder=order.repository), engines))
        around = Surroundings(
            found[0], engines, available_bytes, lambda folder: shutil.disk_usage(folder).free, control
        )
        return Pass(Installer(order, place, around, progress))

    return pass_of


def _dry_run(order: Order, device: Device) -> int:
    """Say what would be done, one line a model; 1 where something would."""
    known = {
        "TensorRT": device.tensorrt,
        "CUDA": device.cuda,
        "L4T": device.l4t,
        "GPU": device.gpu,
        "compute capability": device.compute_capability,
    }
    told = ", ".join(f"{name} {value or '?'}" for name, value in known.items())
    say("device", f"{device.model}: {told}")
    is_done = True
    found = artefacts_of(order.artefacts)
    for artefact in found:
        if isinstance(artefact, Incomplete):
            is_done = False
            say(STEP, f"{artefact.name}: {artefact.text}")
            continue
        made = decision(artefact, order.repository, device, order.dla_core)
        if made.action == "keep":
            say(STEP, f"{artefact.name}: version {made.version} fits")
            continue
        if made.action == "rolled_back":
            say(STEP, f"{artefact.name}: {'; '.join(made.reasons)}")
            continue
        is_done = False
        say(STEP, plan_told(made))
        if made.action == "build":
            _say_memory(order, artefact.onnx.stat().st_size, device)
    for name, reasons in strays(order.repository, [artefact.name for artefact in found], device):
        is_done = is_done and not reasons
        for reason in reasons:
            say(STEP, f"{name}: {reason}; {order.artefacts} has nothing to build it of")
    return int(not is_done)


def _say_memory(order: Order, onnx_bytes: int, device: Device) -> None:
    try:
        if device.tensorrt is None:
            raise BuildError(STEP, "no TensorRT was found on this machine: `python -m builder doctor` says more")
        say("", memory_plan(onnx_bytes, device.memory.available_bytes, order.workspace_bytes).told)
    except BuildError as exc:
        say("", f"it would be refused: {exc.detail.removeprefix(f'{exc.step}: ')}")


def _reported(path: Path) -> Device:
    try:
        return Device.from_json(path.read_bytes())
    except OSError as exc:
        raise BuildError("read", f"cannot read {path}: {exc.strerror}; write it with `doctor --write-report`") from exc


def _program(then: list[str]) -> str:
    """The path of what is to be run, found before the long steps."""
    found = shutil.which(then[0]) if then else None
    if found is None:
        raise BuildError(
            "read", f"--then {' '.join(then) or '(nothing)'}: no such program; give it last, after it its own"
        )
    return found
