"""A bare ONNX in a recipe, which says what the file itself cannot. Nothing has a default."""

from pathlib import Path
from typing import Literal

from builder.recipes.description import Description
from builder.recipes.parts import LabelSettings, RecipePath
from builder.source import Source, labels_from_file


class OnnxSource(Description):
    """The fields of `builder/recipes/description.py`, and the file."""

    kind: Literal["onnx"]
    onnx: RecipePath
    labels: LabelSettings


def source_from_settings(settings: OnnxSource) -> Source:
    """Read the file.

    Raises:
        BuildError: it, or its labels, cannot be read.
    """
    labels = labels_from_file(settings.labels) if isinstance(settings.labels, Path) else settings.labels
    return settings.source(settings.onnx, labels, settings.postprocess)
