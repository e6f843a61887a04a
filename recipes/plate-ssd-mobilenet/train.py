"""Train `mb1-ssd` to find number plates, on one CPU core, and measure it.

python recipes/plate-ssd-mobilenet/train.py --data data --from warm-start.pth --out plate.pth
python recipes/plate-ssd-mobilenet/train.py --data data --evaluate plate.pth
"""

import argparse
import contextlib
import copy
import io
import json
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from augmentation import augmented
from photos import Photo, coco_from_photos, photos_from_folder
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, smooth_l1_loss

from builder.frameworks.pytorch_ssd.network import Mb1Ssd
from builder.frameworks.pytorch_ssd.predictor import detections_from_outputs, tensor_from_image
from builder.frameworks.pytorch_ssd.priors import corners_from_priors, locations_from_boxes

SEED = 0
CLASSES = 2
BATCH = 16
STEPS = 420
WARM_UP = 30
FROZEN = 4
"""First layers of the trunk that are left as they came."""
RATES = {"trunk": 2e-4, "rest": 1e-3}
MATCH = 0.45
"""A prior that overlaps a plate this much has to find it. (pytorch-ssd takes 0.5; plates are small and wide.)"""
NEGATIVES_A_POSITIVE = 3
EMA = 0.99
MEASURED_ABOVE = 0.01
"""Least score of a box that counts in the measurement; pytorch-ssd's own."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--evaluate", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, test = photos_from_folder(options.data)
    if options.evaluate:
        print(json.dumps(measured(_loaded(options.evaluate), test), indent=2))
        return
    _train(_loaded(options.start), training, test, options.steps, options.out)


def _loaded(path: Path) -> Mb1Ssd:
    model = Mb1Ssd(CLASSES)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def _train(model: Mb1Ssd, photos: list[Photo], test: list[Photo], steps: int, out: Path) -> None:
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    read = [(_bounded(photo), photo) for photo in photos]
    images = [image for (image, _), _ in read]
    boxes = [photo.boxes_xyxy * scale for (_, scale), photo in read]
    model.base_net[:FROZEN].requires_grad_(False)
    average = copy.deepcopy(model)
    rest = [p for name, p in model.named_parameters() if not name.startswith("base_net")]
    groups = [
        {"params": [p for p in model.base_net.parameters() if p.requires_grad], "lr": RATES["trunk"]},
        {"params": rest, "lr": RATES["rest"]},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1, (step + 1) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2),
    )
    order: list[int] = []
    started = time.monotonic()
    for step in range(1, steps + 1):
        while len(order) < BATCH:
            order += random.permutation(len(images)).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        batch = [augmented(images[i], boxes[i], random) for i in chosen]
        tensors = torch.stack([tensor_from_image(image) for image, _ in batch])
        classification, regression = _losses(model, tensors, [torch.from_numpy(found) for _, found in batch])
        optimiser.zero_grad()
        (classification + regression).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            keep = min(EMA, step / (step + 10))
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        if step % 20 == 0:
            losses = f"classification {classification.item():.4f} regression {regression.item():.4f}"
            print(f"step {step}/{steps} {losses} {time.monotonic() - started:.0f} s", flush=True)
        if step % 140 == 0 or step == steps:
            torch.save({name: value.half() for name, value in average.state_dict().items()}, out)
            print(f"step {step} test {json.dumps(measured(_loaded(out), test))}", flush=True)


def _bounded(photo: Photo, longest: int = 900) -> tuple[Any, float]:
    image = cv2.imread(str(photo.path))
    scale = min(1.0, longest / max(image.shape[:2]))
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _losses(model: Mb1Ssd, images: Tensor, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """SSD's two losses, each a sum over the matched priors divided by their number; BatchNorm stays as it is."""
    logits, locations = model.predictions(images)
    with torch.no_grad():
        matched = [_matched(found, model.priors) for found in boxes]
        targets, labels = (torch.stack(parts) for parts in zip(*matched, strict=True))
        background = -log_softmax(logits, dim=2)[..., 0]
        positive = labels > 0
        background[positive] = -math.inf
        rank = background.argsort(dim=1, descending=True).argsort(dim=1)
        used = positive | (rank < NEGATIVES_A_POSITIVE * positive.sum(1, keepdim=True))
    count = max(1, int(positive.sum()))
    classification = cross_entropy(logits[used], labels[used], reduction="sum") / count
    return classification, smooth_l1_loss(locations[positive], targets[positive], reduction="sum") / count


def _matched(boxes: Tensor, priors: Tensor) -> tuple[Tensor, Tensor]:
    """Of every prior, the location [4] of its plate and its label; every plate gets the prior that fits it best."""
    corners = corners_from_priors(priors)
    shared = (torch.min(corners[:, None, 2:], boxes[:, 2:]) - torch.max(corners[:, None, :2], boxes[:, :2])).clamp(
        min=0
    )
    overlap = shared.prod(2)
    areas = [(sides[:, 2:] - sides[:, :2]).prod(1) for sides in (corners, boxes)]
    iou = overlap / (areas[0][:, None] + areas[1] - overlap)
    best, owner = iou.max(1)
    favourite = iou.argmax(0)
    best[favourite] = 2.0
    owner[favourite] = torch.arange(len(boxes))
    return locations_from_boxes(boxes[owner], priors), (best >= MATCH).long()


def measured(model: Mb1Ssd, photos: list[Photo]) -> dict[str, float]:
    """COCO's AP of the whole photos, by pytorch-ssd's own way from a photo to boxes."""
    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = coco_from_photos(photos)
        truth.createIndex()
        found = [box for image_id, photo in enumerate(photos, start=1) for box in _boxes(model, photo, image_id)]
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")
    return {name: round(float(value), 4) for name, value in zip(names, evaluation.stats[:9], strict=True)}


def _boxes(model: Mb1Ssd, photo: Photo, image_id: int) -> list[dict[str, Any]]:
    image = cv2.imread(str(photo.path))
    with torch.no_grad():
        scores, boxes = model(tensor_from_image(image)[None])
    corners, confidences, _ = detections_from_outputs(scores[0], boxes[0], image.shape[:2], MEASURED_ABOVE)
    return [
        {"image_id": image_id, "category_id": 1, "score": score, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for (x1, y1, x2, y2), score in zip(corners.tolist(), confidences.tolist(), strict=True)
    ]


if __name__ == "__main__":
    main()
