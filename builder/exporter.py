"""The steps `fetch` and `export`: whatever the kind, a `Source`, and somebody to ask what its answers should be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from builder.checkpoints.fetch import Fetched, fetched
from builder.conversion import Candidate, sha256
from builder.frameworks.job import Job
from builder.parity.graph_reference import REFERENCE, references_from_files
from builder.parity.reference import FLOOR, Reference, references_from_folder
from builder.progress import Progress, Step
from builder.recipes.parts import Checkpoint, CheckpointFile, CheckpointRandom, Serve
from builder.recipes.recipe import Recipe
from builder.source import Source
from builder.sources import onnx, pytorch_ssd, sdk_bundle, yolo
from builder.sources.framework import source_from_job
from builder.worker import Worker
from vision.contract import ClassifierHead, Head
from vision.errors import BuildError

CHUNK = 32
"""Photos a job: answers hold whole tensors, and are deleted once they are compared."""
FRAMEWORK = "the source framework's own inference on the photo's file"


@dataclass(frozen=True, slots=True)
class Export:
    """A source, and the job that exported it; None where it came as ONNX."""

    recipe: Recipe
    source: Source
    fetched: Fetched | None = None
    job: Job | None = None

    @property
    def reference(self) -> str:
        """Who answers for the source, in words."""
        return REFERENCE if self.job is None else FRAMEWORK

    @property
    def is_random(self) -> bool:
        """Whether there are no weights but random ones."""
        return self.fetched is not None and self.fetched.path is None


def exported(recipe: Recipe, checkpoint: Path | None, trust: bool, out: Path, progress: Progress) -> Export:
    """Have the checkpoint, and its network as ONNX.

    Args:
        recipe: what to export.
        checkpoint: in place of the recipe's.
        trust: whether a pickle that is more than tensors may be loaded.
        out: a scratch folder.
        progress: told of the steps.

    Raises:
        BuildError: naming the step.
    """
    wanted = checkpoint_of(recipe, checkpoint)
    if wanted is None:
        return _read(recipe, out, progress)
    had = fetched(wanted, recipe.folder, progress)
    job = job_of(recipe, "export", wanted, had, out, trust)
    with progress.step("export") as step:
        Worker(progress.log).run(job, step.reached, step.note)
        source = _served(source_from_job(out), recipe.serve)
        step.done(_told(source))
    return Export(recipe, source, had, job)


def checkpoint_of(recipe: Recipe, given: Path | None) -> Checkpoint | None:
    """The recipe's, or the file that is given in its place; None for sources that have none.

    Raises:
        BuildError: one is given for such a source.
    """
    own: Checkpoint | None = getattr(recipe.source, "checkpoint", None)
    if given is None:
        return own
    if own is None:
        raise BuildError("fetch", f"--checkpoint is for sources that have one, and {recipe.source.kind} has none")
    return CheckpointFile(file=str(given.resolve()))


def job_of(
    recipe: Recipe, command: Literal["export", "infer"], wanted: Checkpoint, had: Fetched, out: Path, trust: bool
) -> Job:
    """What the frameworks' environment is to do with a checkpoint that is here."""
    return Job(
        command=command,
        kind=recipe.source.kind,
        source=_settings(recipe),
        out=out,
        checkpoint=had.path,
        seed=wanted.random if isinstance(wanted, CheckpointRandom) else 0,
        trust_checkpoint=trust,
    )


def references(export: Export, candidate: Candidate, photos: Sequence[Path], step: Step) -> Iterator[Reference]:
    """The photos, each with the source's own answer; a framework is asked for `CHUNK` of them at a time.

    Raises:
        BuildError: the framework or the source's graph fails on one.
    """
    if export.job is None:
        yield from references_from_files(candidate.origin, photos)
        return
    floor = 0.0 if isinstance(candidate.contract.postprocess, ClassifierHead) else FLOOR
    out = export.job.out.with_name("infer")
    asked = replace(export.job, command="infer", out=out, score_floor=floor, labels=candidate.contract.labels)
    for start in range(0, len(photos), CHUNK):
        chunk = tuple(photos[start : start + CHUNK])
        _infer(replace(asked, photos=chunk), 2 * start, 2 * len(photos), step)
        yield from references_from_folder(chunk, out)


def _infer(job: Job, done_before: int, total: int, step: Step) -> None:
    """One job, whose photos are half of what there is to do with them."""
    try:
        Worker(step.log).run(
            job, lambda done, _, text: step.reached(done_before + done, total, f"source {text}"), step.note
        )
    except BuildError as exc:
        if exc.step != job.command:
            raise
        raise BuildError(step.name, exc.detail.removeprefix(f"{exc.step}: ")) from exc


def _read(recipe: Recipe, out: Path, progress: Progress) -> Export:
    job = None
    with progress.step("export") as step:
        match recipe.source:
            case sdk_bundle.SdkBundleSource() as settings:
                source = sdk_bundle.source_from_settings(settings, recipe.serve)
            case onnx.OnnxSource() as settings:
                source = onnx.source_from_settings(settings)
            case pytorch_ssd.PytorchSsdSource() as settings:
                source = pytorch_ssd.source_from_settings(settings)
                job = Job("export", settings.kind, _settings(recipe), out, None)  # its predictor is the reference
            case yolo.YoloSource() as settings:
                source = yolo.source_from_settings(settings, recipe.serve)
            case settings:
                raise BuildError("export", f"kind {settings.kind!r} has neither a checkpoint nor an ONNX to read")
        source = _served(source, recipe.serve)
        step.done(f"{_told(source)}; came as ONNX")
    return Export(recipe, source, job=job)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """As JSON; paths in it are absolute since the recipe was read."""
    values: dict[str, Any] = recipe.source.model_dump(mode="json", exclude={"checkpoint"})
    return values


def _served(source: Source, serve: Serve) -> Source:
    """What the recipe's `serve` says in place of what the source says."""
    wanted: dict[str, Any] = {
        "score_threshold": serve.score_threshold,
        "max_detections": serve.max_detections,
        "top_k": serve.top_k,
    }
    changed = {key: value for key, value in wanted.items() if value is not None}
    head: Head = source.postprocess
    if strange := sorted(set(changed) - set(type(head).model_fields)):
        raise BuildError("contract", f"serve.{strange[0]} is for another task, and this is {source.task}: leave it out")
    return replace(
        source,
        postprocess=type(head).model_validate({**head.model_dump(), **changed}),
        decode=source.decode if serve.decode is None else serve.decode,
    )


def _told(source: Source) -> str:
    return f"{source.name}: {len(source.onnx) / 1e6:.1f} MB ONNX, sha256 {sha256(source.onnx)[:12]}"
