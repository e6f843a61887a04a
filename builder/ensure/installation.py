"""One model: its engine built, proven and published, in this order, or left as it was."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from builder.engines.jobs import BuildJob, Built, EngineError, OnProgress, Tensor
from builder.ensure.artefacts import Artefact
from builder.ensure.decision import Decision
from builder.ensure.order import Order, Surroundings
from builder.ensure.preflight import ShortageError, check_disk, halved, memory_plan
from builder.ensure.served import contract_of, sha256_of, version_files
from builder.ensure.workplace import Workplace
from builder.golden import Golden, golden_from_file
from builder.parity.report import ParityReport
from builder.passport import Passport, Shapes, same_version
from builder.progress import Progress, Step
from builder.proof import feeds_of, proof
from builder.publishing.repository import publish, switch
from builder.publishing.triton_config import ENGINE
from vision import __version__
from vision.dtypes import DTYPES
from vision.errors import BuildError

NAMES = {dtype.name: name for name, dtype in DTYPES.items()}
EVERY_S = 30.0
"""Where there is no terminal, a build says so often how far it is."""


class ProofError(BuildError):
    """The engine answers otherwise than its ONNX; `report` says where."""

    def __init__(self, detail: str, report: ParityReport) -> None:
        super().__init__("proof", detail)
        self.report = report


@dataclass(frozen=True, slots=True)
class Installer:
    """Carries out decisions, on one device and for one repository."""

    order: Order
    place: Workplace
    around: Surroundings
    progress: Progress

    def __call__(self, decision: Decision) -> int:
        """Carry it out; the version that is served then.

        Raises:
            BuildError: naming the step; what was served is served still.
        """
        artefact = decision.artefact
        if decision.version is not None and decision.action == "keep":
            return decision.version
        if (number := decision.version) is not None:
            return switch(self.order.repository, artefact.name, lambda model: number)
        golden = golden_from_file(artefact.golden)
        if decision.engine is not None:
            report = self._proven(artefact, golden, decision.engine.path, decision.engine.passport.outputs)
            passport = decision.engine.passport.model_copy(
                update={"golden_sha256": artefact.golden_sha256, "proof": report.summary()}
            )
            return self._publish(artefact, decision.engine.path, passport, report)
        with self.place.scratch() as folder:
            engine = folder / ENGINE
            built, workspace_bytes = self._built(artefact, engine)
            outputs = _dtypes(built.outputs)
            report = self._proven(artefact, golden, engine, outputs)
            passport = self._passport(artefact, engine, built, workspace_bytes, report)
            return self._publish(artefact, engine, passport, report)

    def _built(self, artefact: Artefact, engine: Path) -> tuple[Built, int]:
        """The engine, at `engine`, and the workspace that it was built with."""
        onnx_bytes = artefact.onnx.stat().st_size
        places = [(folder, self.around.free_bytes(folder)) for folder in (self.place.folder, self.order.repository)]
        check_disk(onnx_bytes, *places)
        plan = memory_plan(onnx_bytes, self.around.available_bytes(), self.order.workspace_bytes)
        workspace: int | None = plan.workspace_bytes
        with self.progress.step("engine") as step:
            step.note(f"{artefact.name}: {plan.told}")
            while workspace is not None:
                try:
                    built = self._attempt(artefact, engine, workspace, step)
                except EngineError as exc:
                    if exc.kind != "out_of_memory":
                        raise
                    step.note(f"memory ran out with a workspace of {workspace >> 20} MiB: {_bare(exc)}")
                    failure, workspace = exc, halved(workspace)
                else:
                    minutes, seconds = divmod(round(built.seconds), 60)
                    size = f"{built.engine_bytes / 1e6:.1f} MB"
                    step.done(f"{artefact.name}: {size} in {minutes} min {seconds} s, TensorRT {built.tensorrt}")
                    for note in built.notes:
                        step.note(note)
                    return built, workspace
        raise ShortageError("engine", f"memory ran out with the least workspace, too: {_bare(failure)}") from failure

    def _attempt(self, artefact: Artefact, engine: Path, workspace_bytes: int, step: Step) -> Built:
        job = BuildJob(
            onnx=artefact.onnx,
            engine=engine,
            profiles=artefact.profiles,
            precision=artefact.precision,
            workspace_bytes=workspace_bytes,
            timing_cache=self.place.timing_cache(self.around.device),
            dla_core=self.order.dla_core,
        )
        built = self.around.engines.build(job, _told(artefact.name, step, self.progress))
        if not same_version(built.tensorrt, self.around.device.tensorrt):
            raise BuildError(
                "engine",
                f"TensorRT {built.tensorrt} built it, and this device has {self.around.device.tensorrt}: two of them "
                "are installed; name the Python of the right one, JETSERVE_DEVICE_PYTHON",
            )
        return built

    def _proven(self, artefact: Artefact, golden: Golden, engine: Path, dtypes: Mapping[str, str]) -> ParityReport:
        """Parity, with the engine on its published side.

        Raises:
            ProofError: it answers otherwise.
        """
        contract = contract_of(artefact, dtypes)
        with self.progress.step("proof") as step:
            ran = self.around.engines.run(engine, feeds_of(golden, contract), timed_runs=20)
            report = proof(golden, contract, ran.outputs, artefact.name)
            if report.failures:
                detail = f"the engine (published model) answers otherwise than its ONNX (source): {report.summary()}"
                raise ProofError(f"{detail}. It is not served", report)
            fast = (
                f"; a photo in {sorted(ran.milliseconds)[len(ran.milliseconds) // 2]:.2f} ms"
                if ran.milliseconds
                else ""
            )
            step.done(f"{artefact.name}: {report.summary()}{fast}")
        return report

    def _passport(
        self, artefact: Artefact, engine: Path, built: Built, workspace_bytes: int, report: ParityReport
    ) -> Passport:
        device = self.around.device
        return Passport(
            onnx_sha256=artefact.onnx_sha256,
            engine_sha256=sha256_of(engine),
            golden_sha256=artefact.golden_sha256,
            proof=report.summary(),
            precision=artefact.precision,
            profiles={name: Shapes(min=s.min, opt=s.opt, max=s.max) for name, s in artefact.profiles.items()},
            outputs=_dtypes(built.outputs),
            dla_core=self.order.dla_core,
            tensorrt=built.tensorrt,
            cuda=device.cuda,
            l4t=device.l4t,
            gpu=device.gpu,
            compute_capability=device.compute_capability,
            builder=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(built.seconds, 1),
            workspace_bytes=workspace_bytes,
        )

    def _publish(self, artefact: Artefact, engine: Path, passport: Passport, report: ParityReport) -> int:
        with self.progress.step("publish") as step:
            result = publish(
                self.order.repository,
                artefact.name,
                lambda version: version_files(artefact, engine, passport, report.to_json(), version),
            )
            step.done(f"{result.folder}/{result.version}")
        return result.version


def _dtypes(tensors: tuple[Tensor, ...]) -> dict[str, str]:
    """NumPy's names as the contract's; one that no contract has stays as it is, and is refused by its name."""
    return {tensor.name: NAMES.get(tensor.dtype, tensor.dtype) for tensor in tensors}


def _told(name: str, step: Step, progress: Progress) -> OnProgress:
    """Moves the bar, or says a line now and then where there is none."""
    last = begun = time.monotonic()

    def on_progress(fraction: float | None, text: str) -> None:
        nonlocal last
        step.reached(round(100 * (fraction or 0)), None if fraction is None else 100, f"{name}: {text}")
        now = time.monotonic()
        if progress.terminal is None and now - last >= EVERY_S:
            last = now
            share = "" if fraction is None else f"{fraction:.0%}, "
            progress.say("engine", f"{name}: {share}{text}, {now - begun:.0f} s")

    return on_progress


def _bare(exc: BuildError) -> str:
    return exc.detail.removeprefix(f"{exc.step}: ")
