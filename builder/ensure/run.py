"""One pass over the artefacts, one model after another: what fails leaves the others alone."""

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from builder.device import Device
from builder.engines.jobs import EngineError, Engines
from builder.ensure.artefacts import Artefact, Incomplete, artefact_of, artefacts_of
from builder.ensure.decision import Decision, decision, strays
from builder.ensure.installation import Installer, ProofError
from builder.ensure.order import EngineRefused, Outcome
from builder.ensure.preflight import ShortageError
from builder.ensure.served import REFUSED
from builder.publishing.repository import served_version, sweep, switch, versions
from vision.errors import BackendFailure, BackendUnavailable, BuildError

STEP = "ensure"
PLANS = {
    "switch": "to be switched",
    "publish": "to be published anew",
    "build": "an engine is to be built",
}


def identified(device: Device, engines: Engines) -> Device:
    """The device, with what only its TensorRT knows of it where its files do not say so.

    Raises:
        EngineError: they do not, and TensorRT cannot be asked.
    """
    if None not in (device.tensorrt, device.gpu, device.compute_capability, device.cuda):
        return device
    described = engines.describe()
    return device.model_copy(
        update={
            "tensorrt": described.tensorrt,
            "gpu": device.gpu or described.gpu,
            "compute_capability": device.compute_capability or described.compute_capability,
            "cuda": device.cuda or described.cuda,
            "dla_cores": described.dla_cores if device.dla_cores is None else device.dla_cores,
        }
    )


@dataclass(frozen=True, slots=True)
class Pass:
    """Brings models to what their artefacts say, and tells of each."""

    install: Installer

    def all(self) -> list[Outcome]:
        """Every artefact, and what is served without one.

        Raises:
            BuildError: artefacts or repository cannot be read.
        """
        order, device = self.install.order, self.install.around.device
        sweep(order.repository)
        found = artefacts_of(order.artefacts)
        outcomes = [self.one(artefact) for artefact in found]
        for name, reasons in strays(order.repository, [artefact.name for artefact in found], device):
            if reasons:
                why = f"{'; '.join(reasons)}; {order.artefacts} has nothing to build it of"
                outcomes.append(self._told(Outcome(name, why, is_served=False)))
        return outcomes

    def without_triton(self) -> "Pass":
        """The same, while there is none yet: what it publishes is told later."""
        return replace(self, install=replace(self.install, around=replace(self.install.around, control=None)))

    def named(self, name: str) -> Outcome:
        """One model by its name.

        Raises:
            BuildError: there is no such artefact.
        """
        return self.one(artefact_of(self.install.order.artefacts, name))

    def one(self, found: Artefact | Incomplete) -> Outcome:
        """One model; what goes wrong is in what comes back, and was told."""
        if isinstance(found, Incomplete):
            return self._told(Outcome(found.name, found.text, is_served=False))
        return self._guarded(found.name, lambda: self._one(found))

    def load(self, name: str, before: int | None) -> Outcome | None:
        """Have Triton take what was published while it was not there; None as long as it does not answer.

        `before` is the version that was served until then. What somebody has unloaded since is left so.
        """
        control = self.install.around.control
        try:
            version = served_version(self.install.order.repository / name)
            if control is None or version is None:
                return Outcome(name, "there is nothing to load, or no Triton to be told", is_served=version is not None)
            has = control.loaded(name)
            if has.version == version or (has.version is None and has.is_unloaded):
                return Outcome(name, f"version {version} is to be served", is_served=True)
        except BackendUnavailable:
            return None
        except (BackendFailure, BuildError, OSError) as exc:  # an answer that is no index, a file of other making
            return self._told(Outcome(name, f"Triton is not told to load it: {exc}", is_served=False, is_passing=True))
        return self._guarded(name, lambda: self._loaded(name, has.version or before, version))

    def _guarded(self, name: str, work: Callable[[], Outcome]) -> Outcome:
        try:
            try:
                return self._told(work())
            except OSError as exc:
                raise BuildError(STEP, f"{exc.filename or 'no file named'}: {exc.strerror or exc}") from exc
            except BuildError:
                raise
            except Exception as exc:  # a mistake of ours, which must not keep the other models from their engines
                self._log(traceback.format_exc())
                raise BuildError(STEP, f"{type(exc).__name__}: {exc}; please report it") from exc
        except BuildError as exc:
            text = str(exc)
            if isinstance(exc, ProofError):
                text += self._kept(exc, name)
            still = self._still(name)
            return self._told(Outcome(name, f"failed at {text}; {still}", is_served=False, is_passing=_is_passing(exc)))

    def _one(self, artefact: Artefact) -> Outcome:
        order, around = self.install.order, self.install.around
        made = decision(artefact, order.repository, around.device, order.dla_core)
        if made.action == "keep" and made.version is not None:
            return self._caught_up(artefact.name, made.version)
        if made.action in ("refused", "rolled_back"):
            return Outcome(artefact.name, "; ".join(made.reasons), is_served=made.action == "rolled_back")
        self._say(plan_told(made))
        before = served_version(order.repository / artefact.name)
        version = self.install(made)
        return self._loaded(artefact.name, before, version)

    def _caught_up(self, name: str, version: int) -> Outcome:
        """An engine that fits: Triton has another one still where `ensure` was ended before it could tell it."""
        control, fits = self.install.around.control, Outcome(name, f"version {version} fits", is_served=True)
        if control is None:
            return fits
        try:
            has = control.loaded(name)
        except (BackendUnavailable, BackendFailure):  # it begins with what lies there
            return fits
        if has.version == version or (has.version is None and has.is_unloaded):
            return fits
        self._say(f"{name}: version {version} fits, and Triton has {has.version or 'none'}: it is told")
        return self._loaded(name, has.version, version)

    def _loaded(self, name: str, before: int | None, version: int) -> Outcome:
        """Have Triton take it, where one is told; an engine that it refuses is not served, and marked."""
        control, repository = self.install.around.control, self.install.order.repository
        if control is None:
            return Outcome(name, f"version {version} is to be served", is_served=True, is_waiting=True, before=before)
        try:
            control.load(name)
        except BackendUnavailable as exc:
            text = (
                f"version {version} is to be served, but {exc.detail}. Told again with --watch, and by the next ensure"
            )
            return Outcome(name, text, is_served=True, is_waiting=True, before=before)
        except EngineRefused as exc:
            if before is not None and before in versions(repository / name):
                # First: with no room for the mark, or no power, it is only tried again.
                switch(repository, name, lambda model: before)
            (repository / name / str(version) / REFUSED).write_text(f"{exc.detail}\n")
            raise BuildError("load", f"Triton refuses version {version}: {exc.detail}") from exc
        except BackendFailure as exc:  # of room, of its settings, of a file that it could not read: not of the engine
            text = f"version {version} is to be served, and Triton does not load it: {exc.detail}. Tried again"
            return Outcome(name, f"{text} with --watch, and by the next ensure", is_served=False, is_passing=True)
        return Outcome(name, f"version {version} is served", is_served=True)

    def _kept(self, exc: ProofError, name: str) -> str:
        """The report beside the log, and where."""
        if (log := self.install.progress.log) is None:
            return ""
        path = log.path.with_suffix(f".{name}.proof.html")
        try:
            path.write_text(exc.report.to_html())
        except OSError as failure:
            return f" (cannot write {path}: {failure.strerror})"
        return f" (number by number: {path})"

    def _still(self, name: str) -> str:
        """What is served, whatever failed."""
        try:
            served = served_version(self.install.order.repository / name)
        except (BuildError, OSError):
            return "what is served under this name is of other making"
        return "nothing is served under this name" if served is None else f"version {served} is served still"

    def _told(self, outcome: Outcome) -> Outcome:
        self._say(f"{outcome.name}: {outcome.text}")
        return outcome

    def _say(self, text: str) -> None:
        self._log(text)
        self.install.progress.say(STEP, text)

    def _log(self, text: str) -> None:
        if self.install.progress.log is not None:
            self.install.progress.log.write_if_possible(f"{STEP}: {text}")


def plan_told(made: Decision) -> str:
    """What is to be done, and why, in a line."""
    return f"{made.artefact.name}: {PLANS.get(made.action, made.action)}: {'; '.join(made.reasons)}"


def _is_passing(exc: BuildError) -> bool:
    """Whether the same may work later, with nothing changed but the room there is."""
    if isinstance(exc, EngineError):
        return exc.kind in ("out_of_memory", "disk_full")
    cause = exc.__cause__
    return isinstance(exc, ShortageError) or (isinstance(cause, OSError) and cause.errno == errno.ENOSPC)


def repository_of(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        BuildError: it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise BuildError(STEP, f"cannot make {folder}: {exc.strerror or exc}; give another --repository") from exc
    return folder
