"""What heads found, in the numbers and words of answers: the one place where answers are rounded.

The gateway writes every transport's answers with this, and the direct client its own: the same photo has the same
numbers wherever it is asked about.
"""

import numpy as np
from numpy.typing import NDArray

from vision.heads.found import Classification, Detections

# Rounded far inside the 0.5 pixel and 0.005 that answers must agree within.
BOX_DECIMALS = 2
SCORE_DECIMALS = 5


def rounded_boxes(found: Detections) -> NDArray[np.float64]:
    """[k, 4]: x1, y1, x2, y2 in pixels of the upright photo, to a hundredth of one."""
    return found.boxes_xyxy.astype(np.float64).round(BOX_DECIMALS)


def rounded_scores(found: Detections | Classification) -> NDArray[np.float64]:
    """[k]: 0 to 1, with five decimals."""
    return found.scores.astype(np.float64).round(SCORE_DECIMALS)


def plain_photo_result(
    name: str | None, photo_hw: tuple[int, int], found: Detections | Classification, labels: tuple[str, ...]
) -> dict[str, object]:
    """The fields of a `clients.results.PhotoResult` as plain values; what does not apply to the task is left out.

    `photo_hw` is in pixels, upright as the EXIF orientation says.
    """
    height, width = photo_hw
    items: dict[str, object] = (
        {"detections": _plain_detections(found, labels)}
        if isinstance(found, Detections)
        else {"classes": _plain_classes(found, labels)}
    )
    return {"name": name, "width": width, "height": height} | items


def _plain_detections(found: Detections, labels: tuple[str, ...]) -> list[dict[str, object]]:
    return [
        {"box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}} | item
        for (x1, y1, x2, y2), item in zip(rounded_boxes(found).tolist(), _plain_classes(found, labels), strict=True)
    ]


def _plain_classes(found: Detections | Classification, labels: tuple[str, ...]) -> list[dict[str, object]]:
    return [
        {"label": labels[label_id], "label_id": label_id, "score": score}
        for label_id, score in zip(found.label_ids.tolist(), rounded_scores(found).tolist(), strict=True)
    ]
