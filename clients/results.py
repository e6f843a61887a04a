"""What a gateway answers, as types. The gateway writes its answers with these same classes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vision.contract import Contract

if TYPE_CHECKING:
    import supervision

    from clients.conversions import CocoAnnotation
    from clients.photos import Photo


class _Part(BaseModel):
    # Fields of a newer server are ignored, not refused.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Box(_Part):
    """Corners in pixels of the photo, upright as its EXIF orientation says; x to the right, y down."""

    x1: float
    y1: float
    x2: float
    y2: float


class Detection(_Part):
    """One object."""

    box: Box
    label: str
    label_id: int = Field(description="place of the label in the model's labels")
    score: float = Field(description="0 to 1")


class Class(_Part):
    """One class a photo may show."""

    label: str
    label_id: int = Field(description="place of the label in the model's labels")
    score: float = Field(description="probability, 0 to 1")


class PhotoResult(_Part):
    """What was found on one photo: `detections` of a detector, `classes` of a classifier; best first."""

    name: str | None = Field(description="file name, where one was sent")
    width: int = Field(description="pixels, upright as the EXIF orientation says")
    height: int
    detections: tuple[Detection, ...] | None = None
    classes: tuple[Class, ...] | None = None


class Prediction(_Part):
    """One result a photo, in the order they were sent."""

    model: str
    version: str
    results: tuple[PhotoResult, ...]
    timings_ms: dict[str, float] = Field(description="wall-clock milliseconds of each phase, and `total`")


class Model(_Part):
    """A model as the gateway knows it. The facts are missing where a model has no valid contract."""

    name: str
    version: str
    ready: bool
    problem: str | None = Field(None, description="why it is not ready")
    task: Literal["detection", "classification"] | None = None
    labels: tuple[str, ...] | None = None
    input_size_hw: tuple[int, int] | None = Field(None, description="height and width the network sees; -1 is any")
    max_batch: int | None = None
    precision: str | None = None
    created: str | None = Field(None, description="when it was built")


class ModelOfReplica(_Part):
    """A model as one of several Tritons has it."""

    version: str
    ready: bool
    problem: str | None = Field(None, description="why it is not ready")


class ModelDetail(Model):
    """A model with its whole contract."""

    contract: Contract | None = Field(None, description="all that serving it takes; null where it has no valid one")
    replicas: dict[str, ModelOfReplica | None] | None = Field(
        None,
        description="by address, where the Tritons that can be asked do not all have it alike; null of one without it",
    )


class Models(_Part):
    """Every model in Triton's repository."""

    models: tuple[Model, ...]


class Problem(_Part):
    """Any error: what was expected, what came, what to do."""

    error: str = Field(description="stable name of the kind of error")
    detail: str


class Result(_Part):
    """What was found on one photo, and who found it."""

    model: str
    version: str
    name: str | None
    width: int
    height: int
    detections: tuple[Detection, ...] | None = None
    classes: tuple[Class, ...] | None = None
    timings_ms: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them; what does not apply is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_supervision(self) -> "supervision.Detections":
        """A detector's answer for the tools of `supervision`, with each label in `data["class_name"]`.

        Raises:
            ImportError: supervision is not installed.
            InvalidArgument: a classifier's answer.
        """
        from clients.conversions import supervision_from_result

        return supervision_from_result(self)

    def to_coco(self, image_id: int, category_ids: Mapping[str, int] | None = None) -> "list[CocoAnnotation]":
        """A detector's answer as COCO results, boxes as left, top, width, height.

        Args:
            image_id: the photo's, in the dataset.
            category_ids: the dataset's category of each label; by default the label's place in the model's labels.

        Raises:
            InvalidArgument: a label without a category, or a classifier's answer.
        """
        from clients.conversions import coco_from_result

        return coco_from_result(self, image_id, category_ids)

    def draw(self, image: "Photo") -> NDArray[np.uint8]:
        """The photo with what is on it drawn, uint8 [h, w, 3] BGR: a new image, as the gateway draws it.

        `image` is the photo that was predicted, in any form that `predict` takes.

        Raises:
            OSError: the file cannot be read.
            InvalidArgument: what is given is no photo, or one of another size.
        """
        from clients.conversions import drawn_result

        return drawn_result(self, image)


def results_from_prediction(prediction: Prediction) -> list[Result]:
    """One `Result` a photo; photos of one request share their timings."""
    return [
        Result(
            model=prediction.model,
            version=prediction.version,
            timings_ms=prediction.timings_ms,
            **{name: getattr(photo, name) for name in PhotoResult.model_fields},
        )
        for photo in prediction.results
    ]
