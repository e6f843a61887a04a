"""An exported model as it will be served: our pixels, ONNX Runtime, our head."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from builder.frameworks.job import Answer
from builder.parity import boxes
from builder.source import Source
from builder.sources.framework import source_from_job
from builder.verify import Runner, Side
from tests.vision.contracts import PROVENANCE, input_of
from vision.contract import Contract, Output
from vision.decode import image_from_bytes
from vision.heads import Classification, Detections, classifications_from_outputs, detections_from_outputs

MAX_PIXELS = 50_000_000
DETECTOR = (Output(name="dets", dtype="FP32", shape=(-1, 5)), Output(name="labels", dtype="INT64", shape=(-1,)))


class Served:
    """What a worker's `export` left in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.source = source_from_job(folder)
        self._runner = Runner(Side(self.source.onnx, _contract(self.source)))

    def tensor(self, photo: Path) -> NDArray[np.float32]:
        """The network's input, float32 [3, h, w]."""
        pixels, _ = self._runner.preprocessor.batch([image_from_bytes(photo.read_bytes(), max_pixels=MAX_PIXELS)])
        tensor: NDArray[np.float32] = pixels[0]
        return tensor

    def probabilities(self, photo: Path) -> NDArray[np.float32]:
        """By label id."""
        outputs, _ = self._runner([image_from_bytes(photo.read_bytes(), max_pixels=MAX_PIXELS)])
        found: Classification = classifications_from_outputs(
            self._runner.contract, outputs, top_k=len(self.source.labels)
        )[0]
        return found.scores[np.argsort(found.label_ids)]

    def detections(self, photo: Path, above: float) -> Detections:
        """Best first."""
        outputs, geometries = self._runner([image_from_bytes(photo.read_bytes(), max_pixels=MAX_PIXELS)])
        return detections_from_outputs(self._runner.contract, outputs, geometries, score_threshold=above)[0]

    def detections_of(self, photo: Path, outputs: Mapping[str, NDArray[Any]], above: float) -> Detections:
        """What the head makes of one photo's raw outputs, which come without the batch."""
        _, geometries = self._runner.preprocessor.batch([image_from_bytes(photo.read_bytes(), max_pixels=MAX_PIXELS)])
        batch = {name: value[None] for name, value in outputs.items()}
        return detections_from_outputs(self._runner.contract, batch, geometries, score_threshold=above)[0]


def on_photo(answer: Answer, photo: Path, short_by: int) -> Detections:
    """A framework's boxes clipped to the photo, as the gate clips both sides."""
    assert answer.boxes_xyxy is not None
    assert answer.scores is not None
    assert answer.label_ids is not None
    photo_hw = image_from_bytes(photo.read_bytes(), max_pixels=MAX_PIXELS).shape[:2]
    return boxes.on_photo(Detections(answer.boxes_xyxy, answer.scores, answer.label_ids), photo_hw, short_by)


def _contract(source: Source) -> Contract:
    shape = ort.InferenceSession(source.onnx).get_inputs()[0].shape[2:]
    height, width = (side if isinstance(side, int) else -1 for side in shape)
    classes = (Output(name="output", dtype="FP32", shape=(len(source.labels),)),)
    priors = {"scores": 1 + len(source.labels), "boxes": 4}
    ssd = tuple(Output(name=name, dtype="FP32", shape=(-1, columns)) for name, columns in priors.items())
    outputs = {"mmdet": DETECTOR, "classifier": classes, "ssd": ssd}
    return Contract(
        schema_version=1,
        task=source.task,
        labels=source.labels,
        max_batch=1,
        input=input_of(source.preprocess, (height, width), source.layout).model_copy(
            update={"name": source.input_name}
        ),
        outputs=outputs[source.postprocess.head],
        preprocess=source.preprocess,
        in_graph=(),
        postprocess=source.postprocess,
        provenance=PROVENANCE,
    )
