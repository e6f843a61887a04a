"""Whether the models in a repository are for this device."""

from collections.abc import Iterator
from pathlib import Path

from builder.devices.record import Device
from builder.doctor.finding import Finding
from builder.passport import compare
from builder.publishing.inventory import Model, Version, models_of
from builder.publishing.repository import CONFIG
from builder.publishing.served_config import config_from_bytes

ENSURE = "python -m builder ensure"


def models(device: Device, repository: Path) -> Iterator[Finding]:
    """A finding a model; one that says so where there is no repository.

    Raises:
        BuildError: it is there and cannot be read.
    """
    if not repository.exists():
        yield Finding("ok", "models", "none here to hold against the device: --repository FOLDER")
        return
    found = models_of(repository)
    if not found:
        yield Finding("ok", "models", f"{repository} is empty")
    for model in found:
        yield _model(device, model)


def _model(device: Device, model: Model) -> Finding:
    about = f"model {model.name}"
    version = None if model.served is None else model.version(model.served)
    if version is None or version.problem is not None:
        problem = model.problem or (version.problem if version else None) or "no version is served"
        return Finding("fail", about, f"cannot be served: {problem}", None, f"python -m builder inspect {model.name}")
    backend = _backend(version)
    if backend != "tensorrt":
        return Finding("ok", about, f"version {version.number}, through {backend}: for any device")
    if device.kind == "cpu":
        expected = "a graph for the CPU, since this machine has no GPU"
        command = "python -m builder build RECIPE --target cpu"
        return Finding("fail", about, f"version {version.number} is for TensorRT", expected, command)
    if version.passport is None:
        found = f"version {version.number} has no engine with a passport"
        return Finding("fail", about, found, "one that was built on this device", ENSURE)
    if reasons := compare(version.passport, device, None):
        found = f"the engine of version {version.number} is not this device's: {'; '.join(reasons)}"
        return Finding("fail", about, found, "one that was built on this device", ENSURE)
    told = f"TensorRT {version.passport.tensorrt}, {version.passport.precision}"
    return Finding("ok", about, f"version {version.number}, an engine of this device: {told}")


def _backend(version: Version) -> str:
    try:
        config = config_from_bytes((version.folder / CONFIG).read_bytes())
    except OSError:
        config = None
    return "a backend that is not known" if config is None else config.backend
