"""The files of a version, and whether they say anything new."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.archive import file_from_path
from builder.publishing.inventory import CONTRACT, GRAPH, MODEL_PY
from builder.publishing.repository import CONFIG, Files, Published, checked_name, kept_settings, publish, served_version
from builder.publishing.triton_config import Serving, config_text
from builder.verify import Side
from vision.contract import Contract, contract_from_json
from vision.errors import BuildError, ContractError

BACKEND_FILE = Path(__file__).parents[1] / "backends" / "onnxruntime" / "model.py"


@dataclass(frozen=True, slots=True)
class Publication:
    """Where and how a model is to be published. `papers` lie beside it; by themselves they make no new version,
    and replace those of the version that is served unchanged.
    """

    repository: Path
    name: str
    serving: Serving
    force: bool = False
    papers: Mapping[str, bytes] = field(default_factory=dict)


def published(side: Side, publication: Publication) -> Published:
    """Publish a graph with its contract, unless what is served is the same.

    Raises:
        BuildError: the repository cannot be written; it is as it was.
    """
    try:
        backend = {MODEL_PY: BACKEND_FILE.read_bytes()} if publication.serving.backend == "python" else {}
    except OSError as exc:
        raise BuildError("publish", f"cannot read {BACKEND_FILE}: {exc.strerror}; the checkout is incomplete") from exc

    def files_of(version: int, contract: Contract = side.contract) -> Files:
        config = config_text(publication.name, version, contract, publication.serving)
        return {
            GRAPH: side.model,
            CONTRACT: contract.to_json().encode(),
            **backend,
            CONFIG: config.encode(),
        }

    def is_same(model: Path, version: int) -> bool:
        """Byte for byte, but for when and with which tools it was made."""
        folder = model / str(version)
        try:
            before = contract_from_json((folder / CONTRACT).read_bytes())
            files = files_of(version, _made_like(side.contract, before))
            alike = all((folder / name).read_bytes() == content for name, content in files.items())
            return alike and (model / CONFIG).read_bytes() == kept_settings(files[CONFIG], model)
        except (OSError, ContractError):
            return False

    def all_files_of(version: int) -> Files:
        return {**files_of(version), **publication.papers}

    if publication.force:
        return publish(publication.repository, publication.name, all_files_of)
    return publish(publication.repository, publication.name, all_files_of, is_same, publication.papers)


def served(repository: Path, name: str) -> tuple[Path, Side]:
    """The folder of a model's served version, and what is in it.

    Raises:
        BuildError: no such name, or no such model.
    """
    version = served_version(repository / checked_name(name))
    if version is None:
        raise BuildError("read", f"{repository} has no model {name!r}; build it first: python -m builder build RECIPE")
    folder = repository / name / str(version)
    contract = contract_from_json(file_from_path(folder / CONTRACT))
    return folder, Side(file_from_path(folder / GRAPH), contract)


def told(result: Published) -> str:
    """Where it lies, in a line."""
    return f"{result.folder}/{result.version}" + ("" if result.is_new else ": unchanged, nothing published")


def _made_like(contract: Contract, other: Contract) -> Contract:
    made = {"created": other.provenance.created, "tools": other.provenance.tools, "source": other.provenance.source}
    return contract.model_copy(update={"provenance": contract.provenance.model_copy(update=made)})
