"""Triton's container on a machine with an NVIDIA GPU: does the image belong here, are the engines there, then Triton.

    entrypoint.py [OPTION OF TRITONSERVER …]

One process from its first line to Triton's last, so that signals and the exit code are Triton's. Where nothing can be
served yet it waits for what can, as long as `ensure` goes on beside it. Ends with 78 where this image is not for this
machine or a setting is none, 1 where there is nothing to serve and nobody who sees to it, 130 when it is ended before
Triton runs. Runs in the builder's environment.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import preflight

from builder.__main__ import main as builder
from builder.device import Device, DeviceError, device_from_system
from builder.doctor.software import software
from builder.engines.jobs import EngineError
from builder.engines.program import EngineProgram
from builder.ensure.artefacts import stamp_of
from builder.ensure.decision import misfit
from builder.ensure.run import identified
from builder.passport import FILE as PASSPORT
from builder.progress import say
from builder.publishing.inventory import models_of
from builder.publishing.repository import CONFIG
from vision.errors import BuildError

ENTRYPOINT = Path(__file__).with_name("entrypoint.py")
MISCONFIGURED, NOTHING_TO_SERVE = os.EX_CONFIG, 1
BECOME = "--become-triton"
DEVICE = "JETSERVE_DEVICE"
"""From the first part to the second, as JSON: asking TensorRT again would take seconds."""
PYTHON_BACKEND_BYTES = 4 << 20
LOOK_S = 2.0
"""Between two looks for the first model that could be served."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies, by the image's environment."""

    artefacts: Path
    models: Path
    work: Path
    server: Path
    host: str
    ports: Mapping[str, int]
    image: str
    """The Triton that this image is made of, as docker/versions.env names it."""

    @property
    def shared_memory(self) -> str:
        """What the names of the Python backend's regions begin with, as those of docker/triton-cpu/launch.py."""
        return f"jetserve_{self.ports['grpc']}_{socket.gethostname()}_"


def places_of(environment: Mapping[str, str]) -> Places:
    """
    Raises:
        PreflightError: a port is none, or two are the same.
    """

    def path(name: str, default: str) -> Path:
        return Path(environment.get(f"JETSERVE_{name}", default))

    def port(kind: str, default: int) -> int:
        name = f"JETSERVE_{kind.upper()}_PORT"
        return preflight.port_of(environment.get(name) or str(default), name)

    ports = {kind: port(kind, default) for kind, default in (("http", 8000), ("grpc", 8001), ("metrics", 8002))}
    if len(set(ports.values())) < len(ports):
        told = ", ".join(f"JETSERVE_{kind.upper()}_PORT {each}" for kind, each in ports.items())
        raise preflight.PreflightError(f"{told}: expected three different ports")
    return Places(
        artefacts=path("ARTEFACTS", "/artefacts"),
        models=path("MODELS", "/models"),
        work=path("WORK", "/work"),
        server=path("TRITONSERVER", "/opt/tritonserver/bin/tritonserver"),
        host=environment.get("JETSERVE_HOST", "0.0.0.0"),  # noqa: S104 - the container's own; what is published is its caller's
        ports=ports,
        image=environment.get("JETSERVE_TRITON", ""),
    )


def main(arguments: Sequence[str]) -> int:
    """The exit code of what comes before Triton; it returns only where Triton is not reached."""
    try:
        places = places_of(os.environ)
    except preflight.PreflightError as exc:
        return told(f"triton cannot start: {exc}", MISCONFIGURED)
    try:
        if arguments[:1] != [BECOME]:
            return begin(places, arguments)
        become([*triton_command(places), *arguments[1:]])
    except DeviceError as exc:
        return told(str(exc), MISCONFIGURED)
    except BuildError as exc:
        return told(f"failed at {exc}", NOTHING_TO_SERVE)
    except preflight.PreflightError as exc:
        return told(f"triton cannot start: {exc}", NOTHING_TO_SERVE)


def become(command: list[str]) -> NoReturn:
    os.environ.pop("TMPDIR", None)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606  # Triton, with this process's id


def begin(places: Places, arguments: Sequence[str]) -> int:
    """Check the machine, then be `ensure`, which becomes the second part whatever failed.

    Raises:
        BuildError: a machine that is not known.
    """
    device = device_from_system(folder=places.models)
    if reasons := unfit(device, places.image):
        return told("\n".join(reasons), MISCONFIGURED)
    say("device", f"{device.model}, {device.gpu}; this image is made of {places.image}")
    scratch = places.work / "tmp"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(scratch)  # /tmp is memory here, and tensors of golden photos are large
    except OSError as exc:  # ensure will say more; what is served already does not need it
        say("work", f"cannot make {scratch}: {exc.strerror}; {places.work} must be a volume of 10001, with room")
    try:
        device = identified(device, EngineProgram())
    except EngineError as exc:  # ensure says it of every model; what is served already does not need it
        say("device", str(exc))
    os.environ[DEVICE] = device.to_json()
    given = {"--from": places.artefacts, "--repository": places.models, "--work": places.work}
    return builder(
        [
            *("ensure", *(str(part) for pair in given.items() for part in pair), "--watch"),
            *("--triton", f"http://127.0.0.1:{places.ports['http']}"),
            *("--then", sys.executable, str(ENTRYPOINT), BECOME, *arguments),
        ]
    )


def unfit(device: Device, image: str) -> list[str]:
    """Why this image cannot serve on this machine, and which one can; [] where it can."""
    if device.kind == "cpu":
        return [
            f"no NVIDIA GPU is seen on {device.model}, {device.architecture}: start the container with --runtime "
            "nvidia on a Jetson, with --gpus all on a PC; for a CPU there is jetserve/triton-cpu"
        ]
    here = f"here is JetPack {device.jetpack} (L4T {device.l4t})" if device.kind == "jetson" else "here is a PC"
    how = "python3 docker/triton-jetson/environment.py names what to build from, docs/guides/jetson.md how"
    return [
        f"this image does not serve here: {finding.found}, and {here}, which needs {finding.expected}; {how}"
        for finding in software(device, image or None)
        if finding.level == "fail" and finding.about == "Triton"
    ]


def triton_command(places: Places) -> list[str]:
    """Triton's, to load what fits; the rest is told.

    Raises:
        BuildError: there is nothing to serve, and will be nothing; or the repository cannot be read.
        PreflightError: what Triton would fail at, later and less clearly.
    """
    said = os.environ.pop(DEVICE, None)
    device = None if said is None else Device.from_json(said)
    names = first_loadable(places, device)
    for kind, port in places.ports.items():
        preflight.check_port(places.host, port, f"JETSERVE_{kind.upper()}_PORT")
    preflight.check_shared_memory(places.shared_memory)
    preflight.claim_shared_memory(places.shared_memory)
    say("serve", f"Triton loads {', '.join(names)}")
    return [str(places.server), *server_arguments(places, names, device)]


def first_loadable(places: Places, device: Device | None) -> list[str]:
    """What fits, once there is something: the `ensure` beside this process takes what arrives, and what memory allows.

    A container that ended instead would be started again at once, and build again what cannot be built.

    Raises:
        BuildError: there is nothing, and no `ensure` beside this; or the repository cannot be read.
    """
    told: list[str] = []
    while True:
        stamp = stamp_of(places.models)
        names, left_out = loadable(places.models, device)
        for line in left_out:
            if line not in told:
                say("serve", line)
        if names:
            return names
        if told != (told := [*left_out, nothing_in(places)]) and has_child():
            say("serve", f"{told[-1]}. Waiting for one: a new artefact is taken by itself, a restart tries all again")
        while stamp_of(places.models) == stamp:
            if not has_child():
                raise BuildError("serve", told[-1])
            time.sleep(LOOK_S)


def nothing_in(places: Places) -> str:
    return (
        f"{places.models} holds no model that fits this device. What `build --target jetson` made on a PC belongs "
        f"in {places.artefacts}; what came of that is said above"
    )


def has_child() -> bool:
    """Whether the `ensure` that sees to new artefacts is there: this process' only child, forgotten once it ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def loadable(repository: Path, device: Device | None) -> tuple[list[str], list[str]]:
    """Every model, of whoever's making, but those whose engine is another device's; of these a line each."""
    names, left_out = [], []
    for model in models_of(repository):
        version = model.folder / str(model.served)
        try:
            if not (model.folder / CONFIG).is_file():
                continue
            is_engine = (version / PASSPORT).exists()
        except OSError as exc:
            left_out.append(f"{model.name} is left out: {exc.filename}: {exc.strerror}")
            continue
        is_known = is_engine and device is not None and device.tensorrt is not None
        if is_known and device is not None and (reasons := misfit(version, device)):
            left_out.append(f"{model.name} is left out: {'; '.join(reasons)}")
        else:
            names.append(model.name)
    return names, left_out


def server_arguments(places: Places, names: Sequence[str], device: Device | None) -> list[str]:
    """The command line of `tritonserver`; reasons: docs/04-triton.md. A Jetson has no GPU metrics of Triton's."""
    has_gpu_metrics = device is not None and device.kind == "x86-gpu"
    return [
        f"--model-repository={places.models.resolve()}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-on-error=false",
        "--strict-readiness=true",
        "--exit-timeout-secs=10",
        f"--allow-gpu-metrics={str(has_gpu_metrics).lower()}",
        "--log-format=ISO8601",
        f"--backend-config=python,shm-default-byte-size={PYTHON_BACKEND_BYTES}",
        f"--backend-config=python,shm-growth-byte-size={PYTHON_BACKEND_BYTES}",
        f"--backend-config=python,shm-region-prefix-name={places.shared_memory}",
        *(f"--{kind}-address={places.host}" for kind in places.ports),
        *(f"--{kind}-port={port}" for kind, port in places.ports.items()),
        *(f"--load-model={name}" for name in names),
    ]


def told(text: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    return code
