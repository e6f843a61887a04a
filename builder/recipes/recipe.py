"""What `python -m builder build` builds: the `recipe.yaml` of a folder in `recipes/`.

name: balloon                          # in URLs
source:                                # one of builder/sources, by `kind`; paths are relative to this file
  kind: openmmlab
  config: rtmdet_nano_416.py
  checkpoint: {file: rtmdet-nano_416_balloon-b4da2083.pth}
serve: {score_threshold: 0.3}
serving:                               # how Triton runs it, by --target; what is left out has a default
  jetson: {instances: 2, queue_delay_us: 500}
parity:
  images: [../photos/*]                # relative to this file
  tolerances:
    fp32: {pixels: 0, outputs: 0.001, score: 0.001, iou: 0.99, unmatched: 0}
calibration: {images: [balloon/images/*.jpg]}    # beneath $JETSERVE_DATA
evaluation: {kind: coco, images: balloon/images, annotations: balloon/val_coco.json}
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError

from builder.archive import MAX_TEXT_BYTES, file_from_path
from builder.evaluate.settings import Evaluation
from builder.publishing.repository import NAME
from builder.recipes.parts import Parity, Part, Serve, Target
from builder.recipes.recipe_errors import told
from builder.recipes.yaml_document import document_from_yaml
from builder.sources import Settings
from vision.errors import BuildError
from vision.serving import ServingSettings

FILE = "recipe.yaml"


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("expected letters, digits, '-' and '_', starting with a letter or digit")
    return name


class Calibration(Part):
    """Photos that INT8 scales are taken from: patterns beneath the data's root, $JETSERVE_DATA.

    Those that `evaluation` is about are left out.
    """

    images: Annotated[tuple[str, ...], Field(min_length=1)]


class Recipe(Part):
    """One `recipe.yaml`, as in the module's docstring."""

    name: Annotated[str, AfterValidator(_name)]
    source: Settings
    serve: Serve = Serve()
    serving: dict[Target, ServingSettings] = Field(default_factory=dict)
    parity: Parity
    calibration: Calibration | None = None
    evaluation: Evaluation | None = None
    _folder: Path = PrivateAttr()

    @property
    def folder(self) -> Path:
        """Where it lies; paths in it are relative to this."""
        return self._folder

    def settings_for(self, target: Target) -> ServingSettings:
        """How Triton is to run it there; what nobody has said has a default."""
        general = ServingSettings(instances=self.serve.instances, threads=self.serve.threads)
        return self.serving.get(target, ServingSettings()).set_over(general)


def recipe_from_folder(folder: Path) -> Recipe:
    """Read `recipe.yaml` of a folder.

    Raises:
        BuildError: no such file, no YAML, or each field that is missing, unknown or wrong, and each path that is not
            there.
    """
    path = folder / FILE
    if not path.is_file():
        raise BuildError("read", f"{folder} holds no {FILE}; expected a folder like those in recipes/")
    try:
        document, text = document_from_yaml(file_from_path(path, MAX_TEXT_BYTES).decode())
    except ValueError as exc:
        raise BuildError("read", f"{path} is not YAML of plain values: {exc}") from exc
    try:
        recipe = Recipe.model_validate_json(text, context=folder.resolve())
    except ValidationError as exc:
        raise BuildError("read", f"{path}: {told(exc, document)}") from exc
    recipe._folder = folder.resolve()
    return recipe
