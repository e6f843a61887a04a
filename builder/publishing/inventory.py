"""What lies in a model repository: models, their versions, and what is wrong with them, which is never raised."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.passport import FILE as PASSPORT
from builder.passport import Passport, passport_from_file
from builder.publishing.repository import CONFIG, NAME, NAME_EXPECTED, config_version, versions
from builder.publishing.served_config import config_from_bytes
from builder.publishing.triton_config import ENGINE
from vision.contract import Contract, contract_from_json
from vision.errors import BuildError, ContractError
from vision.model_folders import holds_model

STEP = "read"
CONTRACT, GRAPH, BUILD, PARITY, EVALUATION = (
    "contract.json",
    "model.onnx",
    "build.json",
    "parity.json",
    "evaluation.json",
)
MAX_JSON_BYTES = 64 * 2**20
MAX_DEPTH = 64
"""Of a paper's lists and objects within each other; the builder's own have a handful."""
MODEL_PY = "model.py"


@dataclass(frozen=True, slots=True)
class Version:
    """One version folder. `problem` says why it could not be served; the papers are {} where there are none."""

    number: int
    folder: Path
    contract: Contract | None
    size_bytes: int
    build: dict[str, Any]
    parity: dict[str, Any]
    evaluation: dict[str, Any]
    problem: str | None
    passport: Passport | None = None
    """Of the engine, where it is one; its graph lies with the artefacts."""


@dataclass(frozen=True, slots=True)
class Model:
    """One folder of the repository. `served` is None, and `problem` says why, where `config.pbtxt` does not tell."""

    name: str
    folder: Path
    served: int | None
    versions: tuple[Version, ...]
    problem: str | None

    def version(self, number: int) -> Version | None:
        """The version of that number, if there is one."""
        return next((version for version in self.versions if version.number == number), None)


def models_of(repository: Path) -> list[Model]:
    """Every folder of a repository that is meant as a model, by name, whatever it holds.

    Raises:
        BuildError: the repository cannot be read.
    """
    return [_model(folder) for folder in folders_of(repository)]


def folders_of(repository: Path) -> list[Path]:
    """Theirs, by name.

    Raises:
        BuildError: the repository cannot be read.
    """
    try:
        return sorted(path for path in repository.iterdir() if holds_model(path.name) and path.is_dir())
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {repository}: {exc.strerror or exc}; give --repository FOLDER") from exc


def model_of(repository: Path, name: str) -> Model:
    """One of them.

    Raises:
        BuildError: there is none of that name; those there are, are listed.
    """
    folders = {folder.name: folder for folder in folders_of(repository)}
    if name in folders:
        return _model(folders[name])
    names = ", ".join(folders) or "none"
    raise BuildError(STEP, f"{repository} holds no model {name!r}; it holds: {names}")


def damage_of(version: Version) -> str | None:
    """Why a version must not be served, its graph held against the hash in its contract; None where all is well.

    An engine is held against its passport. The other files were looked at when it was listed.
    """
    if version.problem is not None or version.contract is None:
        return version.problem
    name, wanted, vouches = GRAPH, version.contract.provenance.model_sha256, "contract"
    if version.passport is not None:
        name, wanted, vouches = ENGINE, version.passport.engine_sha256, "passport"
    try:
        with (version.folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        return f"cannot read {name}: {exc.strerror or exc}"
    return None if found == wanted else f"{name} has SHA-256 {found[:12]}…, its {vouches} says {wanted[:12]}…"


def _model(folder: Path) -> Model:
    problem, served = None, None
    try:
        served = config_version((folder / CONFIG).read_bytes())
        if served is None:
            problem = f"{CONFIG} names no single version: not published by this builder"
    except OSError as exc:
        problem = f"cannot read {CONFIG}: {exc.strerror or exc}"
    try:
        found = tuple(_version(folder / str(number), number) for number in versions(folder))
    except OSError as exc:
        return Model(folder.name, folder, served, (), f"cannot be listed: {exc.strerror or exc}")
    if not NAME.fullmatch(folder.name):
        problem = f"its name cannot be a model's: {NAME_EXPECTED}; rename the folder"
    elif problem is None and served not in [version.number for version in found]:
        problem = f"{CONFIG} names version {served}, which is not there"
    return Model(folder.name, folder, served, found, problem)


def _version(folder: Path, number: int) -> Version:
    contract, problem, size_bytes = None, None, 0
    passport = passport_from_file(folder / PASSPORT)
    try:
        contract = contract_from_json((folder / CONTRACT).read_bytes())
        size_bytes = (folder / (GRAPH if passport is None else ENGINE)).stat().st_size
        problem = _config_problem(folder, number, contract)
    except OSError as exc:
        problem = f"{Path(str(exc.filename)).name} cannot be read: {exc.strerror or exc}"
    except (ContractError, UnicodeDecodeError) as exc:
        problem = f"{CONTRACT} is {str(exc).splitlines()[0]}"
    papers: list[dict[str, Any]] = []
    for name in (BUILD, PARITY, EVALUATION):
        try:
            papers.append(_paper(folder / name))
        except RecursionError:
            papers.append({})
            problem = problem or f"{name} is nested too deep: no builder wrote it"
    build, parity, evaluation = papers
    return Version(number, folder, contract, size_bytes, build, parity, evaluation, problem, passport)


def _config_problem(folder: Path, number: int, contract: Contract) -> str | None:
    """What is wrong with a version's `config.pbtxt`, held against its folder and contract; OSError if unreadable."""
    data = (folder / CONFIG).read_bytes()
    if config_version(data) != number:
        return f"its {CONFIG} names another version"
    config = config_from_bytes(data)
    if config is None:
        return f"its {CONFIG} is not as this builder writes it"
    if config.name != folder.parent.name:
        return f"its {CONFIG} is of the model {config.name!r}"
    try:
        embedded = contract_from_json(config.contract)
    except ContractError:
        return f"the contract in its {CONFIG} is none"
    if embedded != contract:
        return f"the contract in its {CONFIG} is not the one in {CONTRACT}"
    if config.backend == "python" and not (folder / MODEL_PY).read_bytes().strip():
        return f"{MODEL_PY} is empty"
    return None


def _paper(path: Path) -> dict[str, Any]:
    """A JSON object; what is not there or cannot be read is {}: no version is worse for it.

    Raises:
        RecursionError: it is nested deeper than can be read, or written again.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not _is_shallow(content):
        raise RecursionError
    return content if isinstance(content, dict) else {}


def _is_shallow(content: Any) -> bool:
    level = [content]
    for _ in range(MAX_DEPTH):
        inner = [value for value in level if isinstance(value, dict | list)]
        if not inner:
            return True
        level = [value for one in inner for value in (one.values() if isinstance(one, dict) else one)]
    return False
