"""The gate with a recipe's source on its other side: what `build`, `parity` and the tests over HTTP run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.conversion import Candidate
from builder.exporter import CHUNK, Export, references
from builder.parity.comparison import Ask
from builder.parity.gate import check_parity
from builder.parity.report import ParityReport
from builder.progress import Step
from builder.recipes.parts import Tolerance
from builder.verify import Side

DECODED_EXACTLY = (
    "every pixel was decoded here; serving scales large JPEGs down (decode: fast), and what that costs"
    " `evaluate --sides onnx,fast` says"
)


def compare(
    side: Side,
    export: Export,
    candidate: Candidate,
    photos: Sequence[Path],
    tolerance: Tolerance,
    step: Step,
    *,
    name: str | None = None,
    ask: Ask | None = None,
) -> ParityReport:
    """Hold a graph and its contract against the source that was exported, on photos decoded in full.

    Args:
        side: what is served, or would be.
        export: who answers for the source.
        candidate: of the same export; its origin answers where there is no framework.
        photos: to compare on.
        tolerance: for the precision of `side`.
        step: its bar is moved, and it is told what was not compared.
        name: the model's, in URLs; the recipe's if None.
        ask: a running server that answers in the place of `side`'s graph.

    Raises:
        BuildError: nothing could be compared. What differs is in the report.
    """
    total = len(photos) if export.job is None else 2 * len(photos)
    step.total(total)
    done = 0

    def on_image(photo: str) -> None:
        nonlocal done
        done += 1
        asked = 0 if export.job is None else min(len(photos), -(-done // CHUNK) * CHUNK)
        step.reached(asked + done, total, photo)

    report = check_parity(
        side,
        references(export, candidate, photos, step),
        tolerance,
        precision=side.contract.provenance.precision,
        on_image=on_image,
        labels=export.source.labels,
        reference=export.reference,
        name=name or export.recipe.name,
        is_random=export.is_random,
        ask=ask,
    )
    if side.contract.decode == "fast" and ask is None:
        report = replace(report, remarks=(*report.remarks, DECODED_EXACTLY))
    for note in report.notes:
        step.note(note)
    return report
