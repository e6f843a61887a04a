"""The import, step by step: read, contract, check, fold, verify, publish. Nothing is written before publish."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import onnx
import onnxruntime
from pydantic import ValidationError

from builder import fold, graph, verify
from builder.archive import file_from_path
from builder.bundle import source_from_bundle
from builder.probes import Image, probes_from_photos
from builder.recipe import source_from_onnx
from builder.repository import CONFIG, Files, Published, checked_name, publish
from builder.source import Source, Wishes, check_wishes
from builder.triton_config import Serving, config_text
from vision import __version__
from vision.contract import Contract, Provenance, contract_from_json
from vision.decode import image_from_bytes
from vision.errors import BuildError, ContractError, RequestError

BACKEND_FILE = Path(__file__).parent / "backends" / "onnxruntime" / "model.py"
MAX_PROBE_PIXELS = 100_000_000

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, and how it is to be served."""

    source: Path
    name: str
    repository: Path
    recipe: Path | None = None
    wishes: Wishes = field(default_factory=Wishes)
    serving: Serving = field(default_factory=Serving)
    probes: tuple[Path, ...] = ()
    max_batch: int | None = None
    fold: bool = True
    force: bool = False


def import_model(order: Order, say: Say) -> Published:
    """Import and publish; `say(step, text)` is told what each step found.

    Raises:
        BuildError: naming the step; the repository is as it was.
    """
    checked_name(order.name)
    photos = [(path.name, _photo(path)) for path in order.probes]
    source = _source(order)
    check_wishes(order.wishes, source.task, is_bundle=order.recipe is None)
    say("read", f"{order.source}: {len(source.onnx) / 1e6:.1f} MB ONNX, sha256 {_sha256(source.onnx)[:12]}")
    say("contract", f"{source.task}, {_count(len(source.labels), 'label')}: {_labels(source)}")
    for note in source.notes:
        say("", f"note: {note}")
    model = graph.model_from_bytes(source.onnx, source.name)
    before = _contract(model, source, order.max_batch)
    say("check", f"{_tensors(before)}; opset {graph.opset(model)}, batch up to {before.max_batch}")
    data, contract, told = _folded(model, source.onnx, before, order.fold)
    say("fold", told)
    after = _with_hash(contract, data)
    probes = probes_from_photos(photos)
    for line in verify.verify(verify.Side(source.onnx, before), verify.Side(data, after), probes):
        say("verify", line)
    result = _publish(order, after, data)
    say("publish", f"{result.folder}/{result.version}" + ("" if result.is_new else ": unchanged, nothing published"))
    return result


def _source(order: Order) -> Source:
    if order.source.suffix.lower() == ".onnx":
        if order.recipe is None:
            raise BuildError("read", f"{order.source} alone does not say how to feed it; give --recipe FILE.yaml")
        return source_from_onnx(order.source, order.recipe, order.wishes)
    if order.recipe is not None:
        raise BuildError(
            "read", f"--recipe goes with an .onnx file, and {order.source} is none; a bundle needs no recipe"
        )
    return source_from_bundle(order.source, order.wishes)


def _photo(path: Path) -> Image:
    try:
        return image_from_bytes(file_from_path(path), max_pixels=MAX_PROBE_PIXELS)
    except RequestError as exc:
        raise BuildError("read", f"--probe {path}: {exc.detail}") from exc


def _contract(model: onnx.ModelProto, source: Source, max_batch: int | None) -> Contract:
    digest = _sha256(source.onnx)
    provenance = Provenance(
        source=source.name,
        source_sha256=digest,
        model_sha256=digest,
        precision=source.precision,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tools={
            **source.tools,
            "jetserve": __version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    )
    try:
        return graph.contract_from_graph(model, source, provenance, max_batch)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in exc.errors())
        raise BuildError("contract", f"{source.name} contradicts itself: {problems}") from exc


def _folded(model: onnx.ModelProto, data: bytes, contract: Contract, wanted: bool) -> tuple[bytes, Contract, str]:
    """The bytes to publish, the contract that feeds them, and what to tell of it. Unfolded bytes stay as they came."""
    result = fold.folded(model, contract) if wanted else fold.Folded(model, contract, "not wanted")
    entry = result.contract.input
    shape = f"{entry.dtype} {entry.layout} {list(entry.shape)}"
    if result.hindrance is not None:
        return data, contract, f"nothing ({result.hindrance}); {entry.name!r} stays {shape}"
    try:
        onnx.checker.check_model(result.model)
    except onnx.checker.ValidationError as exc:
        raise BuildError("fold", f"folding made an invalid graph ({exc}); use --no-fold and report this") from exc
    steps = ", ".join(step.op for step in result.contract.in_graph)
    return result.model.SerializeToString(deterministic=True), result.contract, f"{steps}; {entry.name!r} is {shape}"


def _publish(order: Order, contract: Contract, data: bytes) -> Published:
    try:
        backend = {"model.py": BACKEND_FILE.read_bytes()} if order.serving.backend == "python" else {}
    except OSError as exc:
        raise BuildError("publish", f"cannot read {BACKEND_FILE}: {exc.strerror}; the checkout is incomplete") from exc

    def files_of(version: int, contract: Contract = contract) -> Files:
        config = config_text(order.name, version, contract, order.serving)
        return {
            "model.onnx": data,
            "contract.json": contract.to_json().encode(),
            **backend,
            CONFIG: config.encode(),
        }

    def is_same(model: Path, version: int) -> bool:
        """Byte for byte, but for when and with which tools it was made."""
        folder = model / str(version)
        try:
            published = contract_from_json((folder / "contract.json").read_bytes())
            files = files_of(version, _made_like(contract, published))
            alike = all((folder / name).read_bytes() == content for name, content in files.items())
            return alike and (model / CONFIG).read_bytes() == files[CONFIG]
        except (OSError, ContractError):
            return False

    if order.force:
        return publish(order.repository, order.name, files_of)
    return publish(order.repository, order.name, files_of, is_same)


def _made_like(contract: Contract, other: Contract) -> Contract:
    made = {"created": other.provenance.created, "tools": other.provenance.tools, "source": other.provenance.source}
    return contract.model_copy(update={"provenance": contract.provenance.model_copy(update=made)})


def _with_hash(contract: Contract, data: bytes) -> Contract:
    provenance = contract.provenance.model_copy(update={"model_sha256": _sha256(data)})
    return contract.model_copy(update={"provenance": provenance})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _labels(source: Source) -> str:
    shown = ", ".join(source.labels[:5])
    return shown + (", …" if len(source.labels) > 5 else "")


def _tensors(contract: Contract) -> str:
    entry = contract.input
    outputs = ", ".join(f"{o.name} {o.dtype} {list(o.shape)}" for o in contract.outputs)
    return f"{entry.name} {entry.dtype} {entry.layout} {list(entry.shape)} -> {outputs}"
