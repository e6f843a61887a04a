"""One evaluation: every side asked about every photo, and what it comes to."""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.archive import file_from_path
from builder.evaluate.data import check_labels
from builder.evaluate.metrics import HEADLINES, Figures, figures
from builder.evaluate.predictions import Kept, Prediction
from builder.evaluate.samples import Dataset
from builder.evaluate.sides import Asked
from builder.progress import Progress, Step
from vision.contract import Contract
from vision.errors import BuildError

EVALUATION_VERSION = 1


@dataclass(frozen=True, slots=True)
class SideFigures:
    """What one side is worth, who it was, and when. `latency_ms` is the server's own, by percentile."""

    told: str
    figures: Figures
    created: str
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """All sides on one data set. `photos` are the photos' SHA-256 by name, in the data's order."""

    model: str
    contract: Contract
    dataset: Dataset
    sides: Mapping[str, SideFigures]
    images: str
    photos: Mapping[str, str]

    def cost(self, side: str) -> Figures:
        """What is lost (negative) or won from the source to this side."""
        source = self.sides.get("source")
        if source is None or side == "source":
            return {}
        return {
            name: None if value is None or source.figures[name] is None else value - (source.figures[name] or 0.0)
            for name, value in self.sides[side].figures.items()
        }

    def summary(self) -> str:
        """One line: the headline figure of each side."""
        name = HEADLINES[self.dataset.task]
        short = "AP" if self.dataset.task == "detection" else name
        told = ", ".join(f"{side} {_figure(found.figures[name])}" for side, found in self.sides.items())
        return f"{short} {told}; {len(self.dataset.samples)} photos"

    def to_json(self) -> str:
        provenance = self.contract.provenance
        document: dict[str, Any] = {
            "evaluation_version": EVALUATION_VERSION,
            "summary": self.summary(),
            "model": self.model,
            "model_sha256": provenance.model_sha256,
            "precision": provenance.precision,
            "data": {
                "kind": self.dataset.kind,
                "images": self.images,
                "photos": len(self.dataset.samples),
                "boxes": sum(len(sample.boxes) for sample in self.dataset.samples),
                "sha256": self.dataset.fingerprint,
                "photos_sha256": hashlib.sha256("".join(self.photos.values()).encode()).hexdigest(),
            },
            "sides": {
                name: {
                    "who": side.told,
                    "created": side.created,
                    "figures": {key: _rounded(value) for key, value in side.figures.items()},
                    "cost": {key: _rounded(value) for key, value in self.cost(name).items()},
                    **({"latency_ms": dict(side.latency_ms)} if side.latency_ms else {}),
                }
                for name, side in self.sides.items()
            },
            "created": max((side.created for side in self.sides.values()), default=None),
            "tools": provenance.tools,
        }
        return json.dumps(document, indent=1) + "\n"


def evaluate(
    model: str,
    contract: Contract,
    dataset: Dataset,
    sides: Sequence[Asked],
    kept_in: Path,
    images: str,
    progress: Progress,
    fresh: bool = False,
) -> Evaluated:
    """Ask every side what it was not asked before, and count.

    Args:
        model: its name.
        contract: of the published version.
        dataset: what to ask about; its labels are checked against the contract's.
        sides: whom to ask.
        kept_in: folder of the predictions, which a second run finds there.
        images: the data's folder, for the record.
        progress: told of every photo.
        fresh: ask again about every photo.

    Raises:
        BuildError: a class that the model does not know, or a side that fails on a photo, by its name.
    """
    check_labels(dataset, contract.labels)
    if dataset.task != contract.task:
        raise BuildError("data", f"the data is for {dataset.task}, and {model} does {contract.task}")
    photos = {sample.name: hashlib.sha256(file_from_path(sample.path)).hexdigest() for sample in dataset.samples}
    found: dict[str, SideFigures] = {}
    for side in sides:
        with progress.step(side.name) as step:
            predictions = _predictions(dataset, photos, side, kept_in, fresh, step)
        counted = figures(dataset, contract.labels, predictions)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found[side.name] = SideFigures(side.told, counted, now, _latency(predictions))
    return Evaluated(model, contract, dataset, found, images, photos)


def _predictions(
    dataset: Dataset, photos: Mapping[str, str], side: Asked, kept_in: Path, fresh: bool, step: Step
) -> dict[str, Prediction]:
    path = kept_in / f"{side.name}-{side.identity[:16]}-{dataset.fingerprint[:16]}.jsonl"
    kept = Kept(path, photos, fresh, lambda: step.note("another evaluation was asking the same; waited for it"))
    try:
        missing = [sample for sample in dataset.samples if sample.name not in kept.found]
        step.total(len(dataset.samples))
        done = len(dataset.samples) - len(missing)
        for number, (sample, prediction) in enumerate(side.answers(missing, step), start=done + 1):
            kept.add(sample.name, prediction)
            step.reached(number, len(dataset.samples), sample.name)
        before = f", {done} of them before" if done else ""
        step.done(f"{side.told}: {len(dataset.samples)} photos{before}")
        return {sample.name: kept.found[sample.name] for sample in dataset.samples}
    finally:
        kept.close()


def _latency(predictions: Mapping[str, Prediction]) -> dict[str, float]:
    times = [one.ms for one in predictions.values() if one.ms is not None]
    if len(times) < 2:
        return {}
    cuts = statistics.quantiles(times, n=10, method="inclusive")
    return {"p50": round(cuts[4], 2), "p90": round(cuts[8], 2)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
