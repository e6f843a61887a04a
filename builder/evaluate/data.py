"""The photos that a recipe evaluates on, whatever the format of their annotations."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from builder.evaluate.boxed import from_ccpd, from_coco, from_voc
from builder.evaluate.classed import from_csv, from_folders, from_prefixes
from builder.evaluate.samples import STEP, Box, Dataset, Sample
from builder.evaluate.settings import (
    CcpdData,
    CocoData,
    CsvData,
    Evaluation,
    FolderData,
    PrefixData,
    VocData,
)
from vision.errors import BuildError


def dataset_from_settings(settings: Evaluation, root: Path) -> Dataset:
    """Read the annotations; photos are only looked for.

    Raises:
        BuildError: files that are missing or cannot be understood, naming them.
    """
    if not (root / settings.images).is_dir():
        raise BuildError(STEP, f"{root / settings.images} is no folder; give --data DIR, or set JETSERVE_DATA")
    samples = _samples(settings, root)
    wanted = _wanted(settings, root)
    kept = [_renamed(sample, settings) for sample in samples if wanted is None or _is_in(sample, wanted)]
    kept = [sample for sample in kept if sample.label not in settings.ignore]
    if wanted is not None:
        _check_all_there(wanted, kept, samples)
    if not kept:
        raise BuildError(STEP, f"{root / settings.images}: no photos to evaluate on are left")
    is_classification = settings.kind in ("folders", "prefix", "csv")
    if not is_classification and not any(sample.boxes for sample in kept):
        raise BuildError(STEP, f"{root / settings.images}: there is not one box on {len(kept)} photos")
    return Dataset(
        settings.kind, "classification" if is_classification else "detection", tuple(kept), _fingerprint(kept)
    )


def _samples(settings: Evaluation, root: Path) -> list[Sample]:
    match settings:
        case CocoData():
            return from_coco(settings, root)
        case VocData():
            return from_voc(settings, root)
        case CcpdData():
            return from_ccpd(settings, root)
        case FolderData():
            return from_folders(settings, root)
        case PrefixData():
            return from_prefixes(settings, root)
        case CsvData():
            return from_csv(settings, root)


def check_labels(dataset: Dataset, labels: Sequence[str]) -> None:
    """The model must know every class of the data.

    Raises:
        BuildError: naming the classes that it does not, and what to write.
    """
    found = {box.label for sample in dataset.samples for box in sample.boxes}
    found |= {sample.label for sample in dataset.samples if sample.label is not None}
    if unknown := sorted(found - set(labels)):
        shown = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise BuildError(
            "labels",
            f"the data has {', '.join(map(repr, unknown[:10]))}, and the model knows {shown}: write "
            f"evaluation.labels: {{{unknown[0]}: {labels[0]}}}, or evaluation.ignore: [{unknown[0]}], in the recipe",
        )


def _wanted(settings: Evaluation, root: Path) -> set[str] | None:
    files = [root / settings.split] if settings.split is not None else []
    files += [settings.only] if settings.only is not None else []
    names: set[str] | None = None
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise BuildError(STEP, f"cannot read the names in {path}: {exc}") from exc
        found = {line.split(",")[0].strip() for line in lines if line.strip() and not line.startswith("#")}
        names = found if names is None else names & found
    return names


def _is_in(sample: Sample, names: set[str]) -> bool:
    return sample.name in names or Path(sample.name).name in names or Path(sample.name).stem in names


def _check_all_there(wanted: set[str], kept: Sequence[Sample], samples: Sequence[Sample]) -> None:
    there = {form for sample in samples for form in (sample.name, Path(sample.name).name, Path(sample.name).stem)}
    if missing := sorted(wanted - there):
        raise BuildError(
            STEP, f"{len(missing)} of the {len(wanted)} photos that are listed are not there, the first is {missing[0]}"
        )


def _renamed(sample: Sample, settings: Evaluation) -> Sample:
    def name_of(label: str) -> str:
        return settings.labels.get(label, label)

    boxes = tuple(
        Box(name_of(box.label), box.xyxy, box.area, box.ignored)
        for box in sample.boxes
        if box.label not in settings.ignore
    )
    return Sample(sample.name, sample.path, boxes, None if sample.label is None else name_of(sample.label))


def _fingerprint(samples: Sequence[Sample]) -> str:
    told = [[s.name, s.label, [[b.label, *b.xyxy, b.area, b.ignored] for b in s.boxes]] for s in samples]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
