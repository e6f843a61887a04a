"""An engine's passport: what it was built from, for which device, and how. `passport.json` lies beside `model.plan`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from builder.engines.jobs import ShapeRange
from builder.recipes.parts import Precision

FILE = "passport.json"
VERSION: Literal[1] = 1
MAX_BYTES = 2**20


class Shapes(BaseModel):
    """The shapes that an input may have, batch and all; `opt` is what the engine is fastest at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class Passport(BaseModel):
    """One engine. What a device does not say is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passport_version: Literal[1] = VERSION
    onnx_sha256: str
    engine_sha256: str
    golden_sha256: str
    """Of the golden outputs that it was held against before it was served."""
    proof: str
    """What came of that, in words."""
    precision: Precision
    profiles: Mapping[str, Shapes]
    """By input; {} where every side is fixed."""
    outputs: Mapping[str, str]
    """The dtypes of the engine's outputs by name, as a contract calls them: TensorRT before 10 has no INT64."""
    dla_core: int | None
    tensorrt: str
    cuda: str | None
    l4t: str | None
    gpu: str | None
    compute_capability: str | None
    builder: str
    created: str
    """In UTC, ISO 8601."""
    seconds: float
    """That the build took."""
    workspace_bytes: int | None

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


class Platform(Protocol):
    """What a passport is compared with; `builder.device.Device` is one."""

    @property
    def tensorrt(self) -> str | None: ...
    @property
    def cuda(self) -> str | None: ...
    @property
    def l4t(self) -> str | None: ...
    @property
    def gpu(self) -> str | None: ...
    @property
    def compute_capability(self) -> str | None: ...


class Wanted(Protocol):
    """What an engine is to be built from, and how; `builder.ensure.artefacts.Artefact` is one."""

    @property
    def onnx_sha256(self) -> str: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def profiles(self) -> Mapping[str, ShapeRange]: ...


def passport_from_file(path: Path) -> Passport | None:
    """Read one; None where there is none, or none that this builder understands."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return Passport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def compare(passport: Passport, device: Platform, artefact: Wanted | None, dla_core: int | None = None) -> list[str]:
    """Why an engine does not fit, in plain words; [] where it does.

    Args:
        passport: the engine's.
        device: where it is to run.
        artefact: what it should be built from; None compares with the device alone.
        dla_core: that is wanted.
    """
    reasons = list(_device(passport, device))
    if artefact is not None:
        reasons += _artefact(passport, artefact)
        if passport.dla_core != dla_core:
            reasons.append(f"it was built for {_core(passport.dla_core)}, and {_core(dla_core)} is wanted")
    return reasons


def same_version(first: str | None, second: str | None) -> bool:
    """Whether two texts name one version; 10.3.0 and 10.3.0.30 do, the one only says more."""
    if first is None or second is None:
        return first == second
    pairs = zip(first.split("."), second.split("."), strict=False)
    return all(one == other for one, other in pairs)


def _device(passport: Passport, device: Platform) -> Iterator[str]:
    if not same_version(passport.tensorrt, device.tensorrt):
        yield f"it was built with TensorRT {passport.tensorrt}, and this device has {_known(device.tensorrt)}"
    if passport.compute_capability != device.compute_capability or passport.gpu != device.gpu:
        was = f"{_known(passport.gpu)} (compute capability {_known(passport.compute_capability)})"
        yield f"it was built for the GPU {was}, and this is {_known(device.gpu)} ({_known(device.compute_capability)})"
    if not same_version(passport.cuda, device.cuda):
        yield f"it was built with CUDA {_known(passport.cuda)}, and this device has {_known(device.cuda)}"
    if not same_version(passport.l4t, device.l4t):
        yield f"it was built on L4T {_known(passport.l4t)}, and this device runs {_known(device.l4t)}"


def _artefact(passport: Passport, artefact: Wanted) -> Iterator[str]:
    if passport.onnx_sha256 != artefact.onnx_sha256:
        was, wanted = passport.onnx_sha256[:12], artefact.onnx_sha256[:12]
        yield f"it was built from the ONNX {was}…, and the artefact's is {wanted}…"
    if passport.precision != artefact.precision:
        yield f"its precision is {passport.precision}, and {artefact.precision} is wanted"
    profiles = {name: ShapeRange(p.min, p.opt, p.max) for name, p in passport.profiles.items()}
    if profiles != dict(artefact.profiles):
        yield f"it takes {_shapes(profiles)}, and {_shapes(artefact.profiles)} is wanted"


def _known(value: str | None) -> str:
    return value or "one that is not known"


def _core(core: int | None) -> str:
    return "the GPU" if core is None else f"DLA core {core}"


def _shapes(profiles: Mapping[str, ShapeRange]) -> str:
    told = [
        f"{name} {_sides(shapes.min)} to {_sides(shapes.max)}, best at {_sides(shapes.opt)}"
        for name, shapes in sorted(profiles.items())
    ]
    return "; ".join(told) or "one fixed shape"


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
