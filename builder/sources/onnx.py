"""A bare ONNX in a recipe, which says what the file itself cannot. Nothing has a default."""

from pathlib import Path
from typing import Literal

from builder.archive import file_from_path
from builder.recipes.description import RecipeInput
from builder.recipes.parts import LabelSettings, Part, Precision, RecipePath
from builder.source import Source, labels_from_file
from vision.contract import Head, Step


class OnnxSource(Part):
    """The fields of `builder/recipes/description.py`, and the file."""

    kind: Literal["onnx"]
    onnx: RecipePath
    task: Literal["detection", "classification"]
    labels: LabelSettings
    precision: Precision
    input: RecipeInput
    preprocess: tuple[Step, ...]
    postprocess: Head


def source_from_settings(settings: OnnxSource) -> Source:
    """Read the file.

    Raises:
        BuildError: it, or its labels, cannot be read.
    """
    labels = labels_from_file(settings.labels) if isinstance(settings.labels, Path) else settings.labels
    return Source(
        name=settings.onnx.name,
        onnx=file_from_path(settings.onnx),
        task=settings.task,
        labels=labels,
        input_name=settings.input.name,
        layout=settings.input.layout,
        preprocess=settings.preprocess,
        postprocess=settings.postprocess,
        precision=settings.precision,
    )
