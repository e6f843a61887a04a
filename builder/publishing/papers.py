"""What lies beside a version and says how it came about: build.json, the recipe, and the parity report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.conversion import Candidate, sha256
from builder.exporter import Export
from builder.golden import FILE as GOLDEN
from builder.golden import Golden
from builder.parity.report import ParityReport
from builder.publishing.inventory import BUILD, PARITY
from builder.recipes.parts import Target
from builder.recipes.recipe import FILE
from vision.contract import Contract

PARITY_NUMBERS, PARITY_PAGE = PARITY, "parity.html"
BUILD_VERSION = 1


def papers(
    export: Export,
    final: Candidate,
    report: ParityReport,
    target: Target,
    seconds: Mapping[str, float],
    golden: Golden | None = None,
) -> Mapping[str, bytes]:
    """The files by name; `golden` is for a device to hold its engine against."""
    return {
        **({} if golden is None else {GOLDEN: golden.to_bytes()}),
        BUILD: json.dumps(_build(export, final.side.contract, target, seconds), indent=2).encode() + b"\n",
        FILE: (export.recipe.folder / FILE).read_bytes(),
        PARITY_NUMBERS: report.to_json().encode(),
        PARITY_PAGE: report.to_html().encode(),
    }


def _build(export: Export, contract: Contract, target: Target, seconds: Mapping[str, float]) -> dict[str, Any]:
    made = contract.provenance
    had = export.fetched
    return {
        "build_version": BUILD_VERSION,
        "recipe": export.recipe.folder.name,
        "kind": export.recipe.source.kind,
        "checkpoint": None if had is None else {"name": had.path and had.path.name, "sha256": had.sha256},
        "files": {name: {"name": path.name, "sha256": sha256(path.read_bytes())} for name, path in _files(export)},
        "source": made.source,
        "source_sha256": made.source_sha256,
        "model_sha256": made.model_sha256,
        "target": target,
        "precision": made.precision,
        "in_graph": [step.op for step in contract.in_graph],
        "max_batch": contract.max_batch,
        "created": made.created,
        "tools": made.tools,
        "seconds": dict(seconds),
    }


def _files(export: Export) -> list[tuple[str, Path]]:
    """The source's own files, by the field of the recipe that names them: its config, its labels, its ONNX."""
    values = ((name, getattr(export.recipe.source, name)) for name in type(export.recipe.source).model_fields)
    return [(name, value) for name, value in values if isinstance(value, Path) and value.is_file()]
