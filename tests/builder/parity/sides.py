"""A source and what was published of it, as toy networks: contracts that agree, and contracts with one fault."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.graphs import fold, graph
from builder.parity import ParityReport, Reference, check_parity, references_from_graph
from builder.recipes.parts import Precision, Tolerance
from builder.source import Source, Wishes
from builder.sources.bundle import source_from_bundle
from builder.verify import Side
from tests.builder import networks
from vision.contract import (
    ClassifierHead,
    Head,
    MmdetHead,
    Normalise,
    PadToSize,
    Provenance,
    ResizeKeepRatio,
    Step,
    ToRgb,
)

ROOT = Path(__file__).parents[3]
PHOTOS = tuple(sorted((ROOT / "recipes" / "photos").iterdir()))
HEIGHT = WIDTH = 64
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NORMALISE = Normalise(mean=MEAN, std=STD)
KEEP_RATIO = ResizeKeepRatio(
    long_edge=WIDTH, short_edge=HEIGHT, rounding="mmcv", interpolation="bilinear", library="opencv"
)
PAD = PadToSize(size_hw=(HEIGHT, WIDTH), value=(114, 114, 114))
LETTERBOX: tuple[Step, ...] = (KEEP_RATIO, PAD, ToRgb(), NORMALISE)

EXACT = Tolerance(pixels=0, outputs=1e-4, score=1e-4, iou=0.999, unmatched=0, top_k=2)
DETECTOR_HEAD = MmdetHead(boxes="dets", label_ids="labels", score_threshold=0.2, max_detections=10)
CLASSIFIER_HEAD = ClassifierHead(scores="output", activation="none", top_k=2)
PROVENANCE = Provenance(
    source="toy", source_sha256="0" * 64, model_sha256="1" * 64, precision="fp32", created="2026-01-01", tools={}
)


def contract_of(
    model: onnx.ModelProto, steps: tuple[Step, ...], head: Head, labels: tuple[str, ...]
) -> tuple[Side, Side]:
    """The source behind its unfolded steps, and the same folded, as it would be served."""
    is_classifier = isinstance(head, ClassifierHead)
    source = Source(
        name="toy",
        onnx=model.SerializeToString(),
        task="classification" if is_classifier else "detection",
        labels=labels,
        input_name="input",
        layout="NCHW",
        preprocess=steps,
        postprocess=head,
        precision="fp32",
    )
    return _sides(model, source)


def _sides(model: onnx.ModelProto, source: Source) -> tuple[Side, Side]:
    before = graph.contract_from_graph(model, source, PROVENANCE, None)
    folded = fold.folded(model, before)
    return Side(source.onnx, before), Side(folded.model.SerializeToString(), folded.contract)


def classifier(steps: tuple[Step, ...] = LETTERBOX, classes: int = 4) -> tuple[Side, Side]:
    labels = tuple("abcdefgh"[:classes])
    return contract_of(resized(networks.classifier(classes=classes)), steps, CLASSIFIER_HEAD, labels)


def detector(steps: tuple[Step, ...] = LETTERBOX, **options: Any) -> tuple[Side, Side]:
    return contract_of(networks.detector(size_hw=(HEIGHT, WIDTH), **options), steps, DETECTOR_HEAD, ("balloon", "kite"))


def balloon() -> tuple[Side, Side]:
    """A real network: RTMDet-nano, trained on balloons, from the bundle that ships."""
    source = source_from_bundle(ROOT / "recipes" / "balloon-rtmdet" / "sdk", Wishes(score_threshold=0.3))
    return _sides(graph.model_from_bytes(source.onnx, source.name), source)


def resized(model: onnx.ModelProto, height: int = HEIGHT, width: int = WIDTH) -> onnx.ModelProto:
    """The same network for images of another size."""
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[2].dim_value, sides[3].dim_value = height, width
    return model


def with_contract(side: Side, **changed: Any) -> Side:
    return replace(side, contract=side.contract.model_copy(update=changed))


def photos(*names: str) -> list[tuple[str, bytes]]:
    """Those of the recipes' pictures, or a few that differ in all that matters."""
    wanted = names or ("balloons-landscape.jpg", "balloons-turned-left.jpg", "test-card-palette.png")
    return [(path.name, path.read_bytes()) for path in PHOTOS if path.name in wanted]


def drawn(pixels_bgr: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".png", pixels_bgr)
    assert ok
    return data.tobytes()


def parity_of(
    source: Side,
    published: Side,
    tolerance: Tolerance = EXACT,
    given: Iterable[tuple[str, bytes]] | None = None,
    *,
    precision: Precision = "fp32",
    labels: tuple[str, ...] | None = None,
) -> ParityReport:
    """What the gate finds between two sides."""
    references = references_from_graph(source, photos() if given is None else given)
    return check_parity(published, references, tolerance, precision=precision, labels=labels)


def answers_of(source: Side, *names: str) -> list[Reference]:
    return list(references_from_graph(source, photos(*names)))


def large(kind: int) -> onnx.ModelProto:
    """A classifier with a layer whose values pass 65504 on their way, computed in `kind`."""
    model = resized(networks.classifier(softmax=True))
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    model.graph.initializer.append(numpy_helper.from_array(np.full((), 60000, dtype), "large"))
    softmax = model.graph.node[-1]
    softmax.input[0] = "back"
    nodes = [
        helper.make_node("Cast", ["logits"], ["narrow"], to=kind, name="stem/narrow"),
        helper.make_node("Mul", ["narrow", "large"], ["scaled"], name="stem/scale"),
        helper.make_node("Div", ["scaled", "large"], ["unscaled"], name="stem/unscale"),
        helper.make_node("Cast", ["unscaled"], ["back"], to=TensorProto.FLOAT, name="stem/back"),
    ]
    for node in nodes:
        model.graph.node.insert(len(model.graph.node) - 1, node)
    return model
