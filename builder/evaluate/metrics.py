"""From predictions to figures: COCO's twelve lines, or top-1 and top-5."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]

from builder.evaluate.predictions import Prediction
from builder.evaluate.samples import Dataset

Figures = dict[str, float | None]
"""By name, 0 to 1; None where the data has nothing of the kind."""

AP, AR = "Average Precision (AP)", "Average Recall (AR)"
LINES = (
    (AP, "0.50:0.95", " all", "100"),
    (AP, "0.50", " all", "100"),
    (AP, "0.75", " all", "100"),
    (AP, "0.50:0.95", " small", "100"),
    (AP, "0.50:0.95", "medium", "100"),
    (AP, "0.50:0.95", " large", "100"),
    (AR, "0.50:0.95", " all", " 1"),
    (AR, "0.50:0.95", " all", " 10"),
    (AR, "0.50:0.95", " all", "100"),
    (AR, "0.50:0.95", " small", "100"),
    (AR, "0.50:0.95", "medium", "100"),
    (AR, "0.50:0.95", " large", "100"),
)
COCO_NAMES = tuple(f"{what} @[ IoU={iou} | area={area} | maxDets={most} ]" for what, iou, area, most in LINES)
"""As pycocotools prints them, in its order."""
HEADLINES = {"detection": COCO_NAMES[0], "classification": "top-1"}


def figures(dataset: Dataset, labels: Sequence[str], predictions: Mapping[str, Prediction]) -> Figures:
    """What predictions, by the photos' names, are worth."""
    if dataset.task == "detection":
        return coco_figures(dataset, labels, predictions)
    return top_k_figures(dataset, labels, predictions)


def coco_figures(dataset: Dataset, labels: Sequence[str], predictions: Mapping[str, Prediction]) -> Figures:
    """COCO's twelve, over the classes that the data has (pycocotools leaves out the others as well)."""
    truth = {
        "info": {},
        "images": [{"id": n, "file_name": sample.name} for n, sample in enumerate(dataset.samples, start=1)],
        "categories": [{"id": n, "name": label} for n, label in enumerate(labels, start=1)],
        "annotations": [
            {
                "image_id": n,
                "category_id": labels.index(box.label) + 1,
                "bbox": _xywh(box.xyxy),
                "area": box.area,
                "iscrowd": int(box.ignored),
            }
            for n, sample in enumerate(dataset.samples, start=1)
            for box in sample.boxes
        ],
    }
    for number, annotation in enumerate(truth["annotations"], start=1):
        annotation["id"] = number
    found: list[dict[str, Any]] = []
    for n, sample in enumerate(dataset.samples, start=1):
        one = predictions[sample.name]
        found += [
            {"image_id": n, "category_id": label_id + 1, "bbox": _xywh(box), "score": score}
            for box, score, label_id in zip(one.boxes or (), one.scores, one.label_ids, strict=True)
        ]
    truth_index = COCO(truth)
    evaluation = COCOeval_faster(truth_index, truth_index.loadRes(found), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = np.asarray(evaluation.stats, np.float64)[: len(COCO_NAMES)].tolist()
    return {name: None if value < 0 else value for name, value in zip(COCO_NAMES, stats, strict=True)}


def top_k_figures(dataset: Dataset, labels: Sequence[str], predictions: Mapping[str, Prediction]) -> Figures:
    """The share of photos whose class comes first, or among the first five where there are more classes than that."""
    places = [
        predictions[sample.name].label_ids.index(wanted)
        if wanted in predictions[sample.name].label_ids
        else len(labels)
        for sample in dataset.samples
        for wanted in (labels.index(sample.label or ""),)
    ]
    kinds = (1, 5) if len(labels) > 5 else (1,)
    return {f"top-{k}": sum(place < k for place in places) / len(places) for k in kinds}


def _xywh(xyxy: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = xyxy
    return [x1, y1, x2 - x1, y2 - y1]
