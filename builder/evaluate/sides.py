"""Who can be asked: the source, the published ONNX in this process, and the running server."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from builder.archive import file_from_path
from builder.checkpoints.fetch import fetched
from builder.conversion import checked
from builder.evaluate.identity import digest, identity_of, in_process, own_sources, settings_identity
from builder.evaluate.predictions import FLOOR, MOST_BOXES, MOST_CLASSES, Prediction
from builder.evaluate.samples import Sample
from builder.exporter import checkpoint_of, exported, job_of
from builder.frameworks.job import Answer
from builder.progress import Progress, Step
from builder.recipes.parts import Checkpoint
from builder.recipes.photos import MAX_PIXELS
from builder.recipes.recipe import Recipe
from builder.scratch import scratch_folder
from builder.served import Server
from builder.verify import Runner, Side
from builder.worker import Worker, frameworks_versions
from vision.contract import ClassifierHead, Contract, Decode, contract_with_decode
from vision.errors import BackendFailure, BuildError, ContractError, JetserveError, RequestError
from vision.heads import classifications_from_outputs, detections_from_outputs

SideName = Literal["source", "onnx", "fast", "server"]
"""`fast` is `onnx` with large JPEGs scaled down while they are decoded; all others but the server decode exactly."""
CHUNK = 128
"""Photos a job: answers hold whole tensors, and are thrown away after each."""

Answers = Iterator[tuple[Sample, Prediction]]


class Asked(Protocol):
    """One side. `identity` changes with whatever could change its answers; `told` says in words who it is."""

    name: SideName
    identity: str
    told: str

    def answers(self, samples: Sequence[Sample], step: Step) -> Answers:
        """One prediction a photo, in order."""
        ...


class GraphSide:
    """A graph behind its contract, in this process, from encoded bytes to results as the gateway does it."""

    def __init__(self, name: SideName, side: Side, told: str) -> None:
        """`name` says how photos are decoded, whatever the contract says."""
        decode: Decode = "fast" if name == "fast" else "exact"
        side = replace(side, contract=contract_with_decode(side.contract, decode))
        self.name = name
        self.identity = digest(identity_of(side.contract), in_process())
        self.told = told
        self.side = side

    def answers(self, samples: Sequence[Sample], step: Step) -> Answers:
        runner = Runner(self.side)
        for sample in samples:
            try:
                yield sample, _asked(runner, file_from_path(sample.path))
            except (RequestError, BackendFailure, ContractError) as exc:
                raise BuildError(self.name, f"{sample.path}: {exc.detail}") from exc


class FrameworkSide:
    """The framework's own inference on the photos' files."""

    name: SideName = "source"

    def __init__(self, recipe: Recipe, wanted: Checkpoint, contract: Contract, trust: bool, progress: Progress) -> None:
        had = fetched(wanted, recipe.folder, progress)
        self.job = replace(
            job_of(recipe, "infer", wanted, had, Path(), trust),
            score_floor=0.0 if isinstance(contract.postprocess, ClassifierHead) else FLOOR,
            labels=contract.labels,
        )
        self.identity = digest(
            settings_identity(recipe.source),
            had.sha256 or f"seed {self.job.seed}",
            frameworks_versions(),
            own_sources("builder/frameworks"),
            *contract.labels,
        )
        self.told = f"{recipe.source.kind}, {had.path.name if had.path else 'random weights'}"

    def answers(self, samples: Sequence[Sample], step: Step) -> Answers:
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            with scratch_folder("evaluate") as folder:
                job = replace(self.job, out=folder, photos=tuple(sample.path.resolve() for sample in chunk))
                Worker(step.log).run(job, lambda done, total, text: None, step.note)
                for number, sample in enumerate(chunk):
                    yield sample, _prediction(folder / f"{number:05}.npz", sample)


class ServerSide:
    """The running gateway, over HTTP."""

    name: SideName = "server"

    def __init__(self, server: Server, model: str) -> None:
        self.server, self.model = server, model
        contract, version = server.contract(model)
        self.contract = contract
        self.identity = digest(server.url, version, identity_of(contract), own_sources("vision", "gateway"))
        self.told = f"{server.url}, {model} version {version}"

    def answers(self, samples: Sequence[Sample], step: Step) -> Answers:
        for sample in samples:
            try:
                yield sample, self.server.answer(self.model, self.contract, file_from_path(sample.path))
            except JetserveError as exc:
                raise BuildError(self.name, f"{sample.path}: {exc.detail}") from exc


def source_side(recipe: Recipe, contract: Contract, checkpoint: Path | None, trust: bool, progress: Progress) -> Asked:
    """The recipe's own source: its framework, or its ONNX as it came."""
    wanted = checkpoint_of(recipe, checkpoint)
    if wanted is not None:
        return FrameworkSide(recipe, wanted, contract, trust, progress)
    with scratch_folder("evaluate") as folder:
        export = exported(recipe, checkpoint, trust, folder, progress)
    origin = checked(export.source, None, progress).origin
    return GraphSide("source", origin, f"{export.source.name}, as it came")


def _asked(runner: Runner, data: bytes) -> Prediction:
    outputs, geometries = runner([runner.preprocessor.decoded(data, max_pixels=MAX_PIXELS)])
    contract = runner.contract
    if isinstance(contract.postprocess, ClassifierHead):
        return Prediction.from_result(classifications_from_outputs(contract, outputs, top_k=MOST_CLASSES)[0])
    return Prediction.from_result(
        detections_from_outputs(contract, outputs, geometries, score_threshold=FLOOR, max_detections=MOST_BOXES)[0]
    )


def _prediction(path: Path, sample: Sample) -> Prediction:
    try:
        return Prediction.from_answer(Answer.load(path))
    except (OSError, ValueError) as exc:
        raise BuildError("source", f"the framework gave no answer to {sample.path}: {exc}") from exc
