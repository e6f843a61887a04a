"""A classifier of torchvision or timm: an architecture by its name, a state dict, labels, and the test transforms.

kind: torchvision
architecture: resnet18
checkpoint: {file: resnet18_object-01234567.pth}
labels: labels.txt
preprocess:
  - {transform: Resize, size: [224, 224], interpolation: bilinear}
  - {transform: PILToTensor}
  - {transform: Normalize, mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5]}
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from builder.recipes.parts import Checkpoint, LabelSettings, Part

Three = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]


class Resize(Part):
    """To height and width, or its shorter edge to one number; Pillow's, as torchvision resizes pictures."""

    transform: Literal["Resize"]
    size: PositiveInt | tuple[PositiveInt, PositiveInt]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]


class CenterCrop(Part):
    """The middle."""

    transform: Literal["CenterCrop"]
    size: PositiveInt | tuple[PositiveInt, PositiveInt]


class ToTensor(Part):
    """0-255 to 0-1."""

    transform: Literal["ToTensor"]


class PilToTensor(Part):
    """0-255, as it is."""

    transform: Literal["PILToTensor"]


class Normalize(Part):
    """On the scale that the tensor has, in RGB."""

    transform: Literal["Normalize"]
    mean: Three
    std: tuple[Positive, Positive, Positive]


Transform = Annotated[Resize | CenterCrop | ToTensor | PilToTensor | Normalize, Field(discriminator="transform")]


class TorchvisionSource(Part):
    """Nothing is guessed: the transforms are those that the training script evaluated with, or timm's for the model."""

    kind: Literal["torchvision", "timm"]
    architecture: str
    checkpoint: Checkpoint
    labels: LabelSettings
    preprocess: Literal["timm"] | Annotated[tuple[Transform, ...], Field(min_length=1)]
    """`timm` takes the model's own (`timm.data.resolve_model_data_config`); for kind `timm`."""
