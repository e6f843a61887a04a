"""Results in other tools' forms."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from clients.photos import Photo, image_from_photo
from vision.errors import InvalidArgument

if TYPE_CHECKING:
    import supervision

    from clients.results import Class, Detection, Result


class CocoAnnotation(TypedDict):
    """One object of a COCO results file (https://cocodataset.org/#format-results)."""

    image_id: int
    category_id: int
    bbox: list[float]
    """Left, top, width and height, in pixels."""
    score: float


def supervision_from_result(result: "Result") -> "supervision.Detections":
    """See `Result.to_supervision`."""
    try:
        from supervision import Detections
    except ModuleNotFoundError as exc:
        raise ImportError(f"to_supervision needs {exc.name}: pip install supervision") from exc
    found = _detections(result, "supervision.Detections")
    return Detections(
        xyxy=np.array([_sides(detection) for detection in found], np.float32).reshape(-1, 4),
        confidence=np.array([detection.score for detection in found], np.float32),
        class_id=np.array([detection.label_id for detection in found], np.int64),
        data={"class_name": np.array([detection.label for detection in found], np.str_)},
    )


def coco_from_result(
    result: "Result", image_id: int, category_ids: Mapping[str, int] | None = None
) -> list[CocoAnnotation]:
    """See `Result.to_coco`."""
    return [
        {
            "image_id": image_id,
            "category_id": detection.label_id if category_ids is None else _category_id(detection.label, category_ids),
            "bbox": _left_top_width_height(detection),
            "score": detection.score,
        }
        for detection in _detections(result, "COCO annotations")
    ]


def drawn_result(result: "Result", image: Photo) -> NDArray[np.uint8]:
    """See `Result.draw`."""
    from vision.drawing import annotated, captioned
    from vision.heads import Classification, Detections

    image_bgr = image_from_photo(image)
    height, width = image_bgr.shape[:2]
    if (width, height) != (result.width, result.height):
        raise InvalidArgument(
            f"the result is of a photo of {result.width}x{result.height}, and this one is {width}x{height}:"
            " give the photo that was predicted, before any resizing"
        )
    if result.classes is not None:
        scores, label_ids = _scores_and_ids(result.classes)
        return captioned(image_bgr, Classification(scores, label_ids), _labels(result.classes))
    found = result.detections or ()
    scores, label_ids = _scores_and_ids(found)
    boxes_xyxy = np.array([_sides(detection) for detection in found], np.float32).reshape(-1, 4)
    return annotated(image_bgr, Detections(boxes_xyxy, scores, label_ids), _labels(found))


def _detections(result: "Result", wanted: str) -> "tuple[Detection, ...]":
    if result.detections is None:
        raise InvalidArgument(f"{result.model} classifies, and {wanted} are of objects; its answer is in `classes`")
    return result.detections


def _sides(detection: "Detection") -> tuple[float, float, float, float]:
    box = detection.box
    return box.x1, box.y1, box.x2, box.y2


def _left_top_width_height(detection: "Detection") -> list[float]:
    x1, y1, x2, y2 = _sides(detection)
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]


def _category_id(label: str, category_ids: Mapping[str, int]) -> int:
    if label not in category_ids:
        raise InvalidArgument(f"there is no category id for {label!r}, only for: {', '.join(category_ids) or 'none'}")
    return category_ids[label]


def _scores_and_ids(found: "tuple[Detection | Class, ...]") -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.array([item.score for item in found], np.float32), np.array([item.label_id for item in found], np.int64)


def _labels(found: "tuple[Detection | Class, ...]") -> list[str]:
    """By label id; what was not found has none."""
    labels = [""] * (1 + max((item.label_id for item in found), default=-1))
    for item in found:
        labels[item.label_id] = item.label
    return labels
