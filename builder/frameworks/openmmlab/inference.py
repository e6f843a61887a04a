"""The frameworks' own inference on photo files: `inference_detector`, `ImageClassificationInferencer`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builder.frameworks.job import Answer
from builder.frameworks.openmmlab.model import Trained

Infer = Callable[[Path], Answer]


def inference_of(trained: Trained, score_floor: float) -> Infer:
    """A function from a photo file to its answer; detections scored above `score_floor`.

    Boxes may reach over the photo's edge, as the framework has them; who compares them with a server's clips both.
    """
    return _detector(trained, score_floor) if trained.codebase == "mmdet" else _classifier(trained)


def _detector(trained: Trained, score_floor: float) -> Infer:
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(trained.config.copy(), str(trained.plain), palette="random", device="cpu")

    def infer(photo: Path) -> Answer:
        with _seen_by(model.backbone) as seen:
            sample = inference_detector(model, str(photo))
        found = sample.pred_instances
        boxes, scores = found.bboxes.numpy().astype(np.float32), found.scores.numpy().astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > score_floor]
        return Answer(
            tensor=seen[0],
            boxes_xyxy=boxes[order],
            scores=scores[order],
            label_ids=found.labels.numpy().astype(np.int64)[order],
        )

    return infer


def _classifier(trained: Trained) -> Infer:
    from mmpretrain import ImageClassificationInferencer

    inferencer = ImageClassificationInferencer(
        trained.config.copy(), pretrained=str(trained.plain), device="cpu", classes=trained.labels
    )

    def infer(photo: Path) -> Answer:
        with _seen_by(inferencer.model.backbone) as seen:
            [sample] = inferencer(str(photo), return_datasamples=True)
        probabilities = sample.pred_score.numpy().astype(np.float32)
        # mmdeploy puts the softmax into the graph: its output is these.
        return Answer(tensor=seen[0], outputs={"output": probabilities}, probabilities=probabilities)

    return infer


@contextmanager
def _seen_by(network: torch.nn.Module) -> Iterator[list[Any]]:
    """What the network takes: float32 [3, h, w] each time it is called."""
    seen: list[Any] = []

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0][0].numpy().astype(np.float32))

    handle = network.register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()
