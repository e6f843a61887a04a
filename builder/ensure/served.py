"""The device's repository: which of its engines are whole, and what a version that serves an artefact consists of."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.ensure.artefacts import Artefact
from builder.passport import FILE as PASSPORT
from builder.passport import Passport, passport_from_file
from builder.publishing.inventory import BUILD, CONTRACT, PARITY
from builder.publishing.repository import CONFIG, Files
from builder.publishing.served_config import PARAMETER, unquoted
from builder.publishing.triton_config import ENGINE, quoted
from vision.contract import Contract
from vision.errors import BuildError

PAPERS = (BUILD, PARITY)
PROOF = "proof.json"
REFUSED = "refused.txt"
"""Beside an engine that Triton could not load, with what it said."""
ROLLED_BACK = "rolled-back.txt"
"""Beside an engine that somebody on the device has rolled back from: ensure does not switch to it by itself."""
VERSION = re.compile(rb"^version_policy \{ specific \{ versions: \d+ \} \}$", re.MULTILINE)
OUTPUT = re.compile(r'output \{ name: (?P<name>"(?:[^"\\]|\\.)*") data_type: TYPE_(?P<dtype>[A-Z0-9]+) ')


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine in the repository, whole, and its passport."""

    folder: Path
    passport: Passport

    @property
    def path(self) -> Path:
        return self.folder / ENGINE

    @property
    def refusal(self) -> str | None:
        """What Triton said when it could not load it; None where it did not."""
        mark = self.folder / REFUSED
        return mark.read_text(errors="replace").strip() if mark.exists() else None

    @property
    def is_rolled_back(self) -> bool:
        return (self.folder / ROLLED_BACK).exists()


def mark_rollback(model: Path, before: int | None, now: int) -> None:
    """Remember that somebody went back from an engine, and forget it of the one that they chose."""
    (model / str(now) / ROLLED_BACK).unlink(missing_ok=True)
    if before is not None and before > now and (model / str(before) / PASSPORT).exists():
        (model / str(before) / ROLLED_BACK).write_text(f"to version {now}\n")


def engine_of(folder: Path) -> Engine | str:
    """The engine of a version folder, or why there is none that could be served."""
    passport = passport_from_file(folder / PASSPORT)
    if passport is None:
        return f"{PASSPORT} is missing or of another builder"
    try:
        found = sha256_of(folder / ENGINE)
    except OSError as exc:
        return f"{ENGINE} cannot be read: {exc.strerror}"
    if found != passport.engine_sha256:
        return f"{ENGINE} is not the file that its passport is of: SHA-256 {found[:12]}…"
    return Engine(folder, passport)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contract_of(artefact: Artefact, dtypes: Mapping[str, str]) -> Contract:
    """The artefact's contract with the dtypes that the engine's outputs have: TensorRT before 10 makes INT64 INT32.

    Raises:
        BuildError: an output is missing, or of a dtype that is not served.
    """
    outputs = []
    for output in artefact.contract.outputs:
        dtype = dtypes.get(output.name)
        if dtype != output.dtype and (dtype, output.dtype) != ("INT32", "INT64"):
            raise BuildError(
                "engine", f"its output {output.name!r} is {dtype or 'missing'}, expected {output.dtype}; export it anew"
            )
        outputs.append(output.model_copy(update={"dtype": dtype}))
    return artefact.contract.model_copy(update={"outputs": tuple(outputs)})


def files_of(artefact: Artefact, passport: Passport, version: int) -> dict[str, bytes]:
    """What of a version's files follows from artefact and passport: they say whether it serves what is wanted."""
    contract = contract_of(artefact, passport.outputs)
    return {
        CONTRACT: contract.to_json().encode(),
        CONFIG: _config(artefact.config, version, contract),
        **{name: (artefact.folder / name).read_bytes() for name in PAPERS if (artefact.folder / name).is_file()},
    }


def serves(engine: Engine, artefact: Artefact) -> bool:
    """Whether that version is what would be published, given that its engine fits."""
    if engine.passport.golden_sha256 != artefact.golden_sha256:
        return False
    wanted = files_of(artefact, engine.passport, int(engine.folder.name))
    try:
        return all((engine.folder / name).read_bytes() == wanted[name] for name in (CONTRACT, CONFIG))
    except OSError:
        return False


def version_files(artefact: Artefact, engine: Path, passport: Passport, proof: str, version: int) -> Files:
    """All files of a version to be published."""
    return {
        ENGINE: engine,
        PASSPORT: passport.to_json().encode(),
        PROOF: proof.encode(),
        **files_of(artefact, passport, version),
    }


def _config(config: bytes, version: int, contract: Contract) -> bytes:
    """The artefact's `config.pbtxt`, line by line, for another version and the engine's dtypes."""
    dtypes = {output.name: output.dtype for output in contract.outputs}

    def line_of(line: str) -> str:
        if (found := PARAMETER.fullmatch(line)) and unquoted(found[1]) == "contract":
            return f'parameters {{ key: "contract" value {{ string_value: {quoted(contract.to_json())} }} }}'
        if found := OUTPUT.match(line):
            dtype = dtypes.get(unquoted(found["name"]), found["dtype"])
            return f"output {{ name: {found['name']} data_type: TYPE_{dtype} {line[found.end() :]}"
        return line

    lines = VERSION.sub(b"version_policy { specific { versions: %d } }" % version, config).decode("ascii").split("\n")
    return "\n".join(line_of(line) for line in lines).encode("ascii")
