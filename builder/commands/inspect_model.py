"""`inspect`: where a version came from, what it takes and gives, and how it was found to answer."""

import argparse
from pathlib import Path
from typing import Any

from builder.commands.list_models import evaluation_of, parity_of
from builder.commands.output import show_json, size_told
from builder.passport import Passport
from builder.progress import show
from builder.publishing.inventory import Model, Version, damage_of, model_of
from vision.contract import Contract
from vision.errors import BuildError

LABELS_SHOWN = 10
WIDTH = 13


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "inspect",
        help="one model: where it came from, what it does, how it was checked",
        description="One version of a model: provenance, steps, tensors, parity and evaluation.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("name", metavar="NAME", help="the model")
    add("--version", type=int, metavar="N", help="of its versions; the served one otherwise")
    add("--repository", type=Path, default=Path("model_repository"), help="where it lies (%(default)s)")
    add("--json", action="store_true", help="as JSON, with the whole contract and reports")


def run(options: argparse.Namespace) -> int:
    model = model_of(options.repository, options.name)
    version = _version(model, options.version)
    damage = damage_of(version)
    if options.json:
        show_json(_document(model, version, damage))
    else:
        show("".join(f"{name:<{WIDTH}} {text}\n" for name, text in _told(model, version, damage)))
    return 0 if damage is None else 1


def _version(model: Model, number: int | None) -> Version:
    wanted = model.served if number is None else number
    found = None if wanted is None else model.version(wanted)
    if found is not None:
        return found
    there = ", ".join(str(version.number) for version in model.versions) or "none"
    why = model.problem if number is None else f"there is no version {number}"
    raise BuildError("read", f"{model.folder}: {why}; its versions: {there}. Give --version N")


def _document(model: Model, version: Version, damage: str | None) -> dict[str, Any]:
    return {
        "model": model.name,
        "version": version.number,
        "served": model.served,
        "damage": damage,
        "size_bytes": version.size_bytes,
        "passport": version.passport and version.passport.model_dump(mode="json"),
        "contract": version.contract and version.contract.model_dump(mode="json"),
        "build": version.build or None,
        "parity": version.parity or None,
        "evaluation": version.evaluation or None,
    }


def _told(model: Model, version: Version, damage: str | None) -> list[tuple[str, str]]:
    others = ", ".join(str(other.number) for other in model.versions if other.number != version.number)
    state = "served" if model.served == version.number else f"not served, {model.served} is"
    what = "graph" if version.passport is None else "engine"
    lines = [
        ("model", f"{model.name}, version {version.number} ({state}){f'; others: {others}' if others else ''}"),
        ("folder", f"{version.folder}, {what} {size_told(version.size_bytes)}"),
    ]
    if damage is not None:
        lines.append(("DAMAGED", damage))
    if version.passport is not None:
        lines += _passport_told(version.passport)
    if version.contract is not None:
        lines += _contract_told(version.contract)
    lines += _build_told(version.build)
    lines.append(("parity", _parity_told(version)))
    return [*lines, ("evaluation", evaluation_of(version) or "none: python -m builder evaluate")]


def _contract_told(contract: Contract) -> list[tuple[str, str]]:
    made = contract.provenance
    shown = ", ".join(contract.labels[:LABELS_SHOWN]) + (", …" if len(contract.labels) > LABELS_SHOWN else "")
    entry = contract.input
    return [
        ("task", f"{contract.task}, {len(contract.labels)} labels: {shown}"),
        ("input", f"{entry.name} {entry.dtype} {entry.layout} {list(entry.shape)}, batch up to {contract.max_batch}"),
        *(("output", f"{output.name} {output.dtype} {list(output.shape)}") for output in contract.outputs),
        ("decode", f"{contract.decode}{', large JPEGs scaled down' if contract.decode == 'fast' else ''}"),
        *(("before it", _words(step)) for step in contract.preprocess),
        *(("in the graph", _words(step)) for step in contract.in_graph),
        ("after it", _words(contract.postprocess)),
        ("source", f"{made.source}, sha256 {made.source_sha256}"),
        ("graph", f"{made.precision}, sha256 {made.model_sha256}"),
        ("published", made.created),
        ("tools", ", ".join(f"{name} {number}" for name, number in sorted(made.tools.items()))),
    ]


def _passport_told(passport: Passport) -> list[tuple[str, str]]:
    gpu = f"{passport.gpu or 'unknown'} (compute capability {passport.compute_capability or 'unknown'})"
    core = "" if passport.dla_core is None else f", DLA core {passport.dla_core}"
    return [
        ("engine", f"TensorRT {passport.tensorrt}, CUDA {passport.cuda or '?'}, L4T {passport.l4t or '?'}"),
        ("", f"{gpu}{core}, {passport.precision}"),
        ("", f"built {passport.created} in {passport.seconds:g} s by jetserve {passport.builder}"),
        *(
            ("shapes", f"{name}: {list(shapes.min)} to {list(shapes.max)}, best at {list(shapes.opt)}")
            for name, shapes in passport.profiles.items()
        ),
        ("proof", f"on the device, against the ONNX: {passport.proof}"),
    ]


def _words(step: Any) -> str:
    """A step or head of the contract: its name, then its settings."""
    settings: dict[str, Any] = step.model_dump(mode="json")
    kind = settings.pop("op", None) or settings.pop("head")
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
    return f"{kind.replace('_', ' ')}{f': {told}' if told else ''}"


def _build_told(build: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    if recipe := build.get("recipe"):
        lines.append(("recipe", f"{recipe} ({build.get('kind')}), for {build.get('target')}"))
    if isinstance(checkpoint := build.get("checkpoint"), dict):
        lines.append(("checkpoint", f"{checkpoint.get('name')}, sha256 {checkpoint.get('sha256')}"))
    files = build.get("files")
    for name, file in files.items() if isinstance(files, dict) else ():
        if isinstance(file, dict):
            lines.append((str(name), f"{file.get('name')}, sha256 {file.get('sha256')}"))
    return lines


def _parity_told(version: Version) -> str:
    found = parity_of(version)
    if found is None:
        return "none: an import is verified against its own graph only"
    return f"{found}: {version.parity.get('summary', '')}"
