"""The recipe for a bare ONNX: what the file itself cannot say, as YAML. Nothing has a default.

task: classification
labels: labels.txt                      # a file beside the recipe, or a list: [cat, dog]
precision: fp32                         # fp32, fp16 or int8
input: {name: input, layout: NCHW}      # NCHW or NHWC; dtype and size are read from the graph
preprocess:                             # steps of the contract, see vision/contract.py
  - {op: resize_shorter_edge, edge: 256, rounding: floor, interpolation: bilinear, library: pillow}
  - {op: center_crop, size_hw: [224, 224], rounding: half_even}
  - {op: to_rgb}
  - {op: normalise, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375]}
postprocess: {head: classifier, scores: output, activation: softmax, top_k: 5}
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from builder.archive import MAX_TEXT_BYTES, file_from_path
from builder.recipes.parts import Part, Precision
from builder.recipes.recipe_errors import told
from builder.recipes.yaml_document import document_from_yaml
from builder.source import Source, Wishes, labels_from_file
from vision.contract import ClassifierHead, Decode, Head, Step
from vision.errors import BuildError


class RecipeInput(Part):
    name: str
    layout: Literal["NHWC", "NCHW"]


class Description(Part):
    """All that a bare ONNX does not say, but for its labels."""

    task: Literal["detection", "classification"]
    precision: Precision
    input: RecipeInput
    decode: Decode = "exact"
    preprocess: tuple[Step, ...]
    postprocess: Head

    def source(self, path: Path, labels: tuple[str, ...], head: Head) -> Source:
        """The ONNX file with it.

        Raises:
            BuildError: the file cannot be read.
        """
        return Source(
            name=path.name,
            onnx=file_from_path(path),
            task=self.task,
            labels=labels,
            input_name=self.input.name,
            layout=self.input.layout,
            decode=self.decode,
            preprocess=self.preprocess,
            postprocess=head,
            precision=self.precision,
        )


class Recipe(Description):
    """One recipe file, as in the module's docstring."""

    labels: str | Annotated[tuple[str, ...], Field(min_length=1)]


def recipe_from_text(text: str, where: str) -> Recipe:
    """Read a recipe.

    Raises:
        BuildError: no YAML, or each field that is missing, unknown or wrong.
    """
    try:
        document, as_json = document_from_yaml(text)
    except ValueError as exc:
        raise BuildError("contract", f"recipe {where} is not YAML of plain values: {exc}") from exc
    try:
        return Recipe.model_validate_json(as_json)
    except ValidationError as exc:
        raise BuildError("contract", f"recipe {where}: {told(exc, document)}") from exc


def source_from_onnx(path: Path, recipe_path: Path, wishes: Wishes) -> Source:
    """Read an ONNX file and its recipe.

    Raises:
        BuildError: either cannot be read, or the recipe is incomplete.
    """
    try:
        text = file_from_path(recipe_path, MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as exc:
        raise BuildError("read", f"recipe {recipe_path} is not UTF-8 text ({exc})") from exc
    recipe = recipe_from_text(text, str(recipe_path))
    return recipe.source(path, _labels(recipe, recipe_path, wishes), _head(recipe.postprocess, wishes))


def _labels(recipe: Recipe, recipe_path: Path, wishes: Wishes) -> tuple[str, ...]:
    if wishes.labels is not None:
        return labels_from_file(wishes.labels)
    return labels_from_file(recipe_path.parent / recipe.labels) if isinstance(recipe.labels, str) else recipe.labels


def _head(head: Head, wishes: Wishes) -> Head:
    asked: dict[str, int | float | None] = (
        {"top_k": wishes.top_k}
        if isinstance(head, ClassifierHead)
        else {"score_threshold": wishes.score_threshold, "max_detections": wishes.max_detections}
    )
    changed = {key: value for key, value in asked.items() if value is not None}
    return type(head).model_validate({**head.model_dump(), **changed})
