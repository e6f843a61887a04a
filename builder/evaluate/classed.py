"""Data sets with one class a photo: by folder, by file name, by table."""

import csv
from pathlib import Path

from builder.evaluate.samples import STEP, Sample, photos_below
from builder.evaluate.settings import CsvData, FolderData, PrefixData
from vision.errors import BuildError


def from_folders(settings: FolderData, root: Path) -> list[Sample]:
    """`CLASS/photo.jpg`; the name of a sample holds its folder.

    Raises:
        BuildError: a photo that lies in no folder.
    """
    folder = root / settings.images
    samples = []
    for photo in photos_below(folder):
        name = photo.relative_to(folder)
        if len(name.parts) < 2:
            raise BuildError(STEP, f"{photo} lies in no folder of a class; expected {folder}/CLASS/{photo.name}")
        samples.append(Sample(str(name), photo, label=name.parts[0]))
    return samples


def from_prefixes(settings: PrefixData, root: Path) -> list[Sample]:
    """`CLASS_12.jpg`.

    Raises:
        BuildError: a name without an underscore.
    """
    samples = []
    for photo in photos_below(root / settings.images):
        label, underscore, _ = photo.stem.rpartition("_")
        if not underscore:
            raise BuildError(STEP, f"{photo.name} says no class; expected a name like CLASS_12{photo.suffix}")
        samples.append(Sample(photo.name, photo, label=label))
    return samples


def from_csv(settings: CsvData, root: Path) -> list[Sample]:
    """A line a photo, `file name,class`, in that order; lines with # are left out.

    Raises:
        BuildError: a line of another form, or a photo that is not there.
    """
    samples = []
    try:
        with settings.table.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise BuildError(STEP, f"cannot read {settings.table}: {exc}") from exc
    for row in rows:
        if len(row) != 2:
            raise BuildError(STEP, f"{settings.table}: {','.join(row)!r} is not `file name,class`")
        photo = root / settings.images / row[0].strip()
        if not photo.is_file():
            raise BuildError(STEP, f"{photo} is not there, and {settings.table} names it")
        samples.append(Sample(row[0].strip(), photo, label=row[1].strip()))
    return samples
