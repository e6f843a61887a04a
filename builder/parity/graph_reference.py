"""Answers for sources without a framework: the ONNX as it came, in its own precision, behind its unfolded steps."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from builder.frameworks.job import Answer
from builder.parity.reference import FLOOR, MOST_BOXES, Reference
from builder.parity.report import STEP
from builder.parity.tensors import tensor_from_input
from builder.recipes.photos import MAX_PIXELS
from builder.verify import Runner, Side
from vision.contract import ClassifierHead
from vision.decode import image_from_bytes
from vision.errors import BackendFailure, BuildError, ContractError, RequestError
from vision.heads import classifications_from_outputs, detections_from_outputs

REFERENCE = "the source's ONNX as it came, behind its contract's steps (there is no framework to ask)"


def references_from_graph(source: Side, photos: Iterable[tuple[str, bytes]]) -> Iterator[Reference]:
    """Each photo, given by its name and encoded bytes, with the source graph's answer.

    Raises:
        BuildError: a photo that cannot be decoded or that the steps refuse, or a graph that fails.
    """
    runner = Runner(source)
    for name, data in photos:
        try:
            yield Reference(name, data, _answer(runner, data))
        except (RequestError, BackendFailure, ContractError) as exc:
            raise BuildError(STEP, f"{name}: {exc.detail}") from exc


def references_from_files(source: Side, photos: Iterable[Path]) -> Iterator[Reference]:
    """The same for files."""
    return references_from_graph(source, ((photo.name, photo.read_bytes()) for photo in photos))


def _answer(runner: Runner, data: bytes) -> Answer:
    image = image_from_bytes(data, max_pixels=MAX_PIXELS)
    contract, head = runner.contract, runner.contract.postprocess
    tensor = tensor_from_input(contract, runner.preprocessor(image)[0])
    outputs, geometries = runner([image])
    single = {name: np.asarray(value[0]) for name, value in outputs.items()}
    if isinstance(head, ClassifierHead):
        found = classifications_from_outputs(contract, outputs, top_k=len(contract.labels))[0]
        probabilities = np.zeros(len(contract.labels), np.float32)
        probabilities[found.label_ids] = found.scores
        return Answer(tensor, single, probabilities=probabilities)
    boxed = detections_from_outputs(contract, outputs, geometries, score_threshold=FLOOR, max_detections=MOST_BOXES)[0]
    return Answer(tensor, single, boxed.boxes_xyxy, boxed.scores, boxed.label_ids)
