"""A model of mmdet 3, mmpretrain 1 or mmcls 0.x: a training configuration and a checkpoint."""

from typing import Literal

from pydantic import model_validator

from builder.recipes.parts import Checkpoint, Part, RecipePath
from vision.contract import Fraction


class OpenMMLab(Part):
    """Preprocessing, thresholds and labels are those of the training configuration, which is Python and is run."""

    kind: Literal["openmmlab"]
    config: RecipePath
    checkpoint: Checkpoint
    labels: RecipePath | None = None
    """One a line, in the order of the label ids; None takes those of the configuration or the checkpoint."""
    labels_checked: bool = True
    """False takes `labels` though the configuration or the checkpoint names the classes otherwise."""
    graph_threshold: Fraction | None = None
    """Boxes with lower scores are dropped before the suppression in the graph; None is the training's `score_thr`."""

    @model_validator(mode="after")
    def _somebody_names_them(self) -> "OpenMMLab":
        if not self.labels_checked and self.labels is None:
            raise ValueError("labels_checked: false is for labels that are given; expected labels: FILE")
        return self
