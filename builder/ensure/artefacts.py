"""What a PC has built for devices: a folder like a model repository, whose versions hold an ONNX and no engine.

It may be copied while it is read. Nothing in it is believed before it is whole: the contract names the hash of the
ONNX, `config.pbtxt` holds the same contract, and `golden.npz` has a checksum for each of its parts and the hash of the
ONNX that it is of.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from builder.engines.jobs import ShapeRange
from builder.golden import FILE as GOLDEN
from builder.golden import golden_from_file
from builder.publishing.inventory import (
    BUILD,
    GRAPH,
    PARITY,
    Model,
    Version,
    damage_of,
    folders_of,
    model_of,
    models_of,
)
from builder.publishing.repository import CONFIG, NAME
from builder.publishing.served_config import config_from_bytes
from builder.recipes.parts import Precision
from vision.contract import Contract
from vision.errors import BuildError

STEP = "artefact"


@dataclass(frozen=True, slots=True)
class Artefact:
    """The version of a model that is to be served, whole."""

    name: str
    folder: Path
    """Of the version."""
    contract: Contract
    config: bytes
    golden_sha256: str
    profiles: Mapping[str, ShapeRange]
    """Batches from 1 to the contract's; {} where the graph's is fixed.

    Fastest at 1: that is what reaches a device that keeps up, and batches form where it does not.
    """

    @property
    def onnx(self) -> Path:
        return self.folder / GRAPH

    @property
    def golden(self) -> Path:
        return self.folder / GOLDEN

    @property
    def onnx_sha256(self) -> str:
        return self.contract.provenance.model_sha256

    @property
    def precision(self) -> Precision:
        return self.contract.provenance.precision


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A model that cannot be taken as it stands: `why` says whether to wait for the rest or to build it again."""

    name: str
    why: str

    @property
    def text(self) -> str:
        """What becomes of it."""
        return f"{'waits for the rest' if NAME.fullmatch(self.name) else 'is left out'}: {self.why}"


def artefact_of(artefacts: Path, name: str) -> Artefact | Incomplete:
    """One model's version that is to be served, its hashes checked.

    Raises:
        BuildError: there is no such model.
    """
    return _artefact(model_of(artefacts, name))


def artefacts_of(artefacts: Path) -> list[Artefact | Incomplete]:
    """Every model's version that is to be served, its hashes checked.

    Raises:
        BuildError: the folder cannot be read.
    """
    if not artefacts.is_dir():
        raise BuildError(
            STEP, f"{artefacts} is no folder: copy there what `build --target jetson` made, or give --from"
        )
    return [_artefact(model) for model in models_of(artefacts)]


def stamp_of(artefacts: Path) -> Mapping[str, object]:
    """What changes when a model does, by its name: of each file its size, its number on the disk, and when it changed.

    Cheap enough to be asked every few seconds. One whose files are renamed while they are looked at has a stamp that
    equals no other; a folder that is not there is as good as empty.
    """
    try:
        return {path.name: _stamp(path) for path in folders_of(artefacts)}
    except BuildError:
        return {}


def _stamp(folder: Path) -> object:
    try:
        found = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    except FileNotFoundError:
        return object()
    except OSError as exc:  # it stays so until somebody sees to it, and a look into it says why
        return str(exc)
    # The inode's time, not the content's: it tells of permissions as well, and rsync does not set it back.
    return tuple((str(path), status.st_size, status.st_ctime_ns, status.st_ino) for path, status in found)


def _artefact(model: Model) -> Artefact | Incomplete:
    version = None if model.served is None else model.version(model.served)
    try:
        if model.problem is not None or version is None:
            raise BuildError(STEP, model.problem or "no version is to be served")
        return _whole(model.name, version)
    except BuildError as exc:
        return Incomplete(model.name, exc.detail.removeprefix(f"{exc.step}: "))
    except OSError as exc:
        return Incomplete(model.name, f"{exc.filename}: {exc.strerror}")


def _whole(name: str, version: Version) -> Artefact:
    if (damage := damage_of(version)) is not None or version.contract is None:
        raise BuildError(STEP, f"version {version.number} is not whole: {damage}")
    contract, config = version.contract, (version.folder / CONFIG).read_bytes()
    if (found := config_from_bytes(config)) is None or found.backend != "tensorrt":
        backend = "another" if found is None else found.backend
        raise BuildError(STEP, f"it is for Triton's {backend} backend; build it with --target jetson")
    if -1 in contract.input.shape:
        raise BuildError(
            STEP, f"its input is {list(contract.input.shape)}: an engine needs every side but the batch; export it so"
        )
    if missing := [name for name, paper in ((BUILD, version.build), (PARITY, version.parity)) if not paper]:
        raise BuildError(STEP, f"it has no whole {' and no whole '.join(missing)}: copy it whole")
    path = version.folder / GOLDEN
    if not path.is_file():
        raise BuildError(STEP, f"it has no {GOLDEN}: copy it whole; a build of an older builder must be built again")
    if (of := golden_from_file(path).model_sha256) != contract.provenance.model_sha256:
        raise BuildError(STEP, f"{GOLDEN} is of the ONNX {of[:12]}…, the contract says another: copy it again")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Artefact(name, version.folder, contract, config, digest, _profiles(contract, version.folder / GRAPH))


def _profiles(contract: Contract, graph: Path) -> Mapping[str, ShapeRange]:
    entry = contract.input
    if contract.max_batch == 1:
        model = onnx.load(graph, load_external_data=False)
        sides = next(i.type.tensor_type.shape.dim for i in model.graph.input if i.name == entry.name)
        if sides[0].dim_value:
            return {}
    one = (1, *entry.shape)
    return {entry.name: ShapeRange(one, one, (contract.max_batch, *entry.shape))}
