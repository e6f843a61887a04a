"""The transforms that a recipe declares under `preprocess`: what its training script and the reference both run.

A recipe's list is torchvision's own, name by name, so that nothing is typed twice:

    preprocess:
      - {transform: Resize, size: [224, 224], interpolation: bilinear}   # or size: 256, the shorter edge
      - {transform: CenterCrop, size: 224}
      - {transform: ToTensor}                                            # 0-1; PILToTensor leaves 0-255
      - {transform: Normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}

Images are what Pillow decodes, so that resizes are Pillow's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from builder.frameworks.job import JobError


class FloatPILToTensor(transforms.PILToTensor):
    """`PILToTensor` as float32, 0-255: `Normalize` takes no integers."""

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        return super().__call__(picture).float()


def transforms_from_declaration(declaration: Sequence[Mapping[str, Any]]) -> transforms.Compose:
    """The transforms of a recipe's `preprocess`.

    Raises:
        JobError: a name that is none of those above, or arguments that are missing.
    """
    return transforms.Compose([_transform(step) for step in declaration])


def _transform(step: Mapping[str, Any]) -> Any:
    try:
        match step["transform"]:
            case "Resize":
                return transforms.Resize(step["size"], interpolation=InterpolationMode(step["interpolation"]))
            case "CenterCrop":
                return transforms.CenterCrop(step["size"])
            case "ToTensor":
                return transforms.ToTensor()
            case "PILToTensor":
                return FloatPILToTensor()
            case "Normalize":
                return transforms.Normalize(step["mean"], step["std"])
            case other:
                known = "Resize, CenterCrop, ToTensor, PILToTensor or Normalize"
                raise JobError(
                    "contract", f"preprocess: {other!r} cannot be served as it was trained; expected {known}"
                )
    except (KeyError, ValueError, TypeError) as exc:
        raise JobError("contract", f"preprocess: {dict(step)} is not complete: {exc!r}") from exc


def picture_from_file(path: Path) -> Image.Image:
    """RGB, upright by its EXIF orientation, without its alpha, as serving decodes it too."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def tensor_from_picture(transform: Any, picture: Image.Image) -> NDArray[np.float32]:
    """Float32 [3, h, w] of an RGB picture."""
    tensor: torch.Tensor = transform(picture)
    return tensor.numpy().astype(np.float32, copy=False)
