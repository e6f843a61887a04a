# torch and the YOLOs live in environments of their own, unseen by mypy
# mypy: disable-error-code="import-not-found, import-untyped"
"""Records what the detectors' own libraries make of seeded raw predictions, for the tests to compare with.

Run where torch, torchvision, ultralytics and yolox are installed and `PYTORCH_SSD` names a checkout of
qfgaohao/pytorch-ssd, from the repository's root:

    python -m tests.golden.record_heads

writes `heads/detections.npz` beside this file: rows x1 y1 x2 y2 score label, best first, under `case/SEED`.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.vision import predictions
from tests.vision.predictions import NETWORK_HW, PHOTO_HW, STRIDES

FOLDER = Path(__file__).parent / "heads"
SEEDS = range(6)
SCORE, IOU, MOST = 0.25, 0.45, 300
CANDIDATES = 40

Rows = NDArray[Any]


def ultralytics(predicted: NDArray[np.float32], **options: Any) -> Rows:
    """Suppression and the way back to the photo, as its predictor does them."""
    import torch
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    found = non_max_suppression(torch.from_numpy(predicted.copy()), SCORE, IOU, max_det=MOST, **options)[0]
    scale_boxes(NETWORK_HW, found[:, :4], PHOTO_HW)
    return np.asarray(found)


def yolox(predicted: NDArray[np.float32], *, add_grids: bool) -> Rows:
    """As tools/demo.py: grids where they are missing, suppression, and the way back by one ratio; it clips nothing."""
    import torch
    from yolox.utils.boxes import postprocess
    from yolox.utils.demo_utils import demo_postprocess

    raw = demo_postprocess(predicted.copy(), NETWORK_HW) if add_grids else predicted.copy()
    found = postprocess(torch.from_numpy(raw.astype(np.float32)), predictions.CLASSES, SCORE, IOU)[0]
    boxes = found[:, :4] / min(NETWORK_HW[0] / PHOTO_HW[0], NETWORK_HW[1] / PHOTO_HW[1])
    return np.asarray(torch.cat([boxes, found[:, 4:5] * found[:, 5:6], found[:, 6:7]], dim=1))


def pytorch_ssd(scores: NDArray[np.float32], boxes: NDArray[np.float32]) -> Rows:
    """The loop over classes of vision/ssd/predictor.py; it clips nothing."""
    import torch

    path = Path(os.environ["PYTORCH_SSD"]) / "vision" / "utils" / "box_utils.py"
    spec = importlib.util.spec_from_file_location("pytorch_ssd_box_utils", path)
    assert spec is not None
    assert spec.loader is not None
    box_utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(box_utils)
    found = []
    for label in range(predictions.CLASSES):
        probabilities = torch.from_numpy(scores[0, :, 1 + label])
        above = probabilities > SCORE
        rows = torch.cat([torch.from_numpy(boxes[0])[above], probabilities[above, None]], dim=1)
        kept = box_utils.hard_nms(rows, IOU, candidate_size=CANDIDATES)
        found.append(torch.cat([kept, torch.full((len(kept), 1), float(label))], dim=1))
    rows = torch.cat(found)
    rows[:, :4] *= torch.tensor(PHOTO_HW[::-1] * 2)
    return np.asarray(rows[rows[:, 4].argsort(descending=True)])


def torchvision(seed: int) -> Rows:
    """The positions that batched_nms keeps of boxes that are best first."""
    import torch
    from torchvision.ops import batched_nms

    boxes, scores, ids = nms_input(seed)
    kept = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(ids), IOU)
    return np.asarray(kept)


def nms_input(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes [n, 4] best first, scores [n] and labels [n]: several blocks of our own suppression."""
    rng = np.random.default_rng(seed)
    boxes = predictions.centred_boxes(rng, 1500)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    scores = np.sort(rng.uniform(0, 1, 1500).astype(np.float32))[::-1].copy()
    return corners, scores, rng.integers(predictions.CLASSES, size=1500)


CASES: dict[str, Callable[[int], Rows]] = {
    "ultralytics v8": lambda seed: ultralytics(predictions.v8(seed)),
    "ultralytics v10": lambda seed: ultralytics(predictions.v10(seed)),
    "yolox": lambda seed: yolox(predictions.yolox(seed), add_grids=True),
    "yolox, grids in the graph": lambda seed: yolox(predictions.v5(seed), add_grids=False),
    "pytorch-ssd": lambda seed: pytorch_ssd(*predictions.ssd(seed)),
    "batched_nms": torchvision,
}


def main() -> None:
    assert len(STRIDES) == 3
    arrays: dict[str, Any] = {f"{case}/{seed}": run(seed) for case, run in CASES.items() for seed in SEEDS}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / "detections.npz", **arrays)
    print({name: array.shape for name, array in arrays.items()})


if __name__ == "__main__":
    main()
