"""The import, step by step: read, contract, check, fold, verify, publish. Nothing is written before publish.

It is a build of what is ONNX already, by somebody who has no recipe: nothing is fetched, exported or converted, and
there is no framework to be held against.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.conversion import checked, folded, sha256, verified
from builder.probes import probes_from_photos
from builder.progress import Progress, Say
from builder.publishing.publication import Publication, published, told
from builder.publishing.repository import Published, checked_name
from builder.publishing.triton_config import Serving
from builder.recipes.description import source_from_onnx
from builder.recipes.photos import photo_from_path
from builder.source import Source, Wishes, check_wishes
from builder.sources.bundle import source_from_bundle
from builder.sources.yolo import YoloSource, is_yolo, source_from_yolo
from vision.errors import BuildError


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
    progress = Progress(say)
    with progress.step("read") as step:
        photos = [(path.name, photo_from_path(path)) for path in order.probes]
        source = _source(order)
        if order.wishes.decode is not None:
            source = replace(source, decode=order.wishes.decode)
        check_wishes(order.wishes, source.task, is_bundle=not _is_onnx(order.source))
        step.done(f"{order.source}: {len(source.onnx) / 1e6:.1f} MB ONNX, sha256 {sha256(source.onnx)[:12]}")
    candidate = folded(checked(source, order.max_batch, progress), order.fold, progress)
    verified(candidate, candidate, probes_from_photos(photos), progress)
    with progress.step("publish") as step:
        publication = Publication(order.repository, order.name, order.serving, order.force)
        result = published(candidate.side, publication)
        step.done(told(result))
    return result


def _source(order: Order) -> Source:
    if _is_onnx(order.source):
        if order.recipe is None and is_yolo(order.source):
            return source_from_yolo(YoloSource(onnx=order.source), order.wishes)
        if order.recipe is None:
            raise BuildError("read", f"{order.source} alone does not say how to feed it; give --recipe FILE.yaml")
        return source_from_onnx(order.source, order.recipe, order.wishes)
    if order.recipe is not None:
        raise BuildError(
            "read", f"--recipe goes with an .onnx file, and {order.source} is none; a bundle needs no recipe"
        )
    return source_from_bundle(order.source, order.wishes)


def _is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"
