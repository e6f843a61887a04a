"""What the comparison found, image by image: numbers, failures and, for the page, small pictures."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from builder.parity.boxes import BoxParity
from builder.parity.classes import ClassParity
from builder.recipes.parts import Tolerance
from builder.verify import is_raw
from vision.contract import Contract, outputs_of_head
from vision.errors import BuildError

STEP = "parity"
REPORT_VERSION = 1

Stage = Literal["decode", "preprocess", "outputs", "labels", "boxes", "classes"]
STAGES: tuple[Stage, ...] = ("decode", "preprocess", "labels", "outputs", "boxes", "classes")
"""In the order of cause and effect: what differs early explains what differs later."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One stage of one image outside its tolerance. `excess` is how many times the tolerance, at least 1."""

    stage: Stage
    detail: str
    excess: float
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.stage}: {self.detail}" + (f"; {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """For the page: uint8 [h, w, 3] BGR, small; `heat` is where the tensors differ, None where nowhere."""

    source: NDArray[np.uint8]
    published: NDArray[np.uint8]
    heat: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class ImageParity:
    """One image. `pixels` None: the tensors could not be compared."""

    name: str
    photo_hw: tuple[int, int] | None = None
    tensor_hw: tuple[int, int] | None = None
    pixels: float | None = None
    mean_pixels: float | None = None
    outputs: Mapping[str, float] = field(default_factory=dict)
    boxes: BoxParity | None = None
    classes: ClassParity | None = None
    failures: tuple[Failure, ...] = ()
    pictures: Pictures | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, object]:
        """Everything but the pictures."""
        left_out = {"pictures", "failures"}
        values = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        for name in ("boxes", "classes"):
            values[name] = None if values[name] is None else asdict(values[name])
        return {**values, "outputs": dict(self.outputs), "failures": [asdict(failure) for failure in self.failures]}


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The whole comparison.

    `reference` says who answered for the source, `model` is the published model's name, where it has one by now, and
    `remarks` are what was found out about the comparison itself.
    """

    contract: Contract
    tolerance: Tolerance
    precision: str
    reference: str
    images: tuple[ImageParity, ...]
    model: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def failures(self) -> list[str]:
        """One line a failed stage, the worst first; empty if all agree."""
        return [f"{image.name}: {failure}" for image, failure in self._ranked()]

    @property
    def notes(self) -> list[str]:
        """What was not compared, so that nobody takes silence for agreement."""
        notes = list(self.remarks)
        if self.tolerance.outputs is not None and not raw_outputs(self.contract):
            notes.append("the network's outputs are boxes already, and are compared as such")
        elif self.tolerance.outputs is not None and not any(image.outputs for image in self.images):
            notes.append("the source gives no raw outputs: they were not compared")
        return notes

    def summary(self) -> str:
        """One line."""
        if lines := self.failures:
            failed = sum(1 for image in self.images if image.failures)
            return f"{failed} of {len(self.images)} images differ, worst {lines[0]}"
        return f"{len(self.images)} images agree: {', '.join(self._extremes())}"

    def _extremes(self) -> list[str]:
        pixels = [image.pixels for image in self.images if image.pixels is not None]
        told = [f"pixels within {max(pixels):.3g}"] if pixels else []
        if outputs := [value for image in self.images for value in image.outputs.values()]:
            told.append(f"outputs within {max(outputs):.2g}")
        if boxes := [image.boxes for image in self.images if image.boxes]:
            told.append(
                f"{sum(b.matched for b in boxes)} boxes paired, IoU from {min(b.least_iou for b in boxes):.4f},"
                f" scores within {max(b.largest_score for b in boxes):.2g}"
            )
            if alone := sum(b.unmatched for b in boxes):
                told.append(f"{alone} suppressed by a twin")
        if classes := [image.classes for image in self.images if image.classes]:
            same = sum(c.disagreement is None for c in classes)
            where = "" if same == len(classes) else f" on {same} of {len(classes)}"
            largest = max(c.largest for c in classes)
            told.append(f"top-{classes[0].top_k} the same{where}, probabilities within {largest:.2g}")
        return told

    def _ranked(self) -> list[tuple[ImageParity, Failure]]:
        """The earliest stage first, and of one stage what most images share by its hint, then the largest excess."""
        found = [(image, failure) for image in self.images for failure in image.failures]
        hints = Counter(failure.hint for _, failure in found)
        return sorted(
            found,
            key=lambda item: (
                STAGES.index(item[1].stage),
                item[1].hint is None,
                -hints[item[1].hint],
                -item[1].excess,
            ),
        )

    def to_json(self) -> str:
        """Numbers, tolerances and versions; readable without this project."""
        provenance = self.contract.provenance
        document = {
            "report_version": REPORT_VERSION,
            "passed": not self.failures,
            "summary": self.summary(),
            "model": self.model,
            "reference": self.reference,
            "precision": self.precision,
            "model_sha256": provenance.model_sha256,
            "source": provenance.source,
            "source_sha256": provenance.source_sha256,
            "created": provenance.created,
            "tools": provenance.tools,
            "tolerance": self.tolerance.model_dump(),
            "notes": self.notes,
            "failures": self.failures,
            "images": [image.to_dict() for image in self.images],
        }
        return json.dumps(_finite(document), indent=1)

    def to_html(self) -> str:
        """One page that needs nothing else."""
        from builder.parity.page import page_from_report  # it imports this module

        return page_from_report(self)


def raw_outputs(contract: Contract) -> set[str]:
    """The outputs that can be compared number by number; rows of results in the order of their scores cannot."""
    head = contract.postprocess
    return set(outputs_of_head(head)) if is_raw(head) else set()


def require(report: ParityReport) -> None:
    """Let pass what agrees with its source.

    Raises:
        BuildError: naming the worst image, the stage, by how much, the tolerance, and the cause where it was found.
    """
    if lines := report.failures:
        names = [image.name for image in report.images if image.failures]
        others = f" ({len(names)} of {len(report.images)} images differ)" if len(report.images) > 1 else ""
        raise BuildError(STEP, f"{lines[0]}{others}. Nothing was published")


def _finite(value: object) -> object:
    """JSON knows no infinity; as text it stays readable."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
