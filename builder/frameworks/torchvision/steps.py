"""torchvision's transforms, as they are in memory, as steps of the contract.

What is translated is the object that the reference runs: torchvision's own `Compose`, or the one that timm makes.
"""

from typing import Any

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from builder.frameworks.job import JobError

STEP = "contract"
INTERPOLATIONS = {
    InterpolationMode.NEAREST: "nearest",
    InterpolationMode.BILINEAR: "bilinear",
    InterpolationMode.BICUBIC: "bicubic",
    InterpolationMode.LANCZOS: "lanczos",
}
BYTE = 255.0


def steps_from_transforms(compose: transforms.Compose) -> list[dict[str, Any]]:
    """The contract's steps, from a decoded BGR photo to the network's RGB tensor on the 0-255 scale.

    Raises:
        JobError: a transform, or an option of one, that the contract has no step for.
    """
    steps: list[dict[str, Any]] = []
    scale, mean, std = None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    for transform in compose.transforms:
        match transform:
            case transforms.Resize() if scale is None:
                steps.append(_resize(transform))
            case transforms.CenterCrop() if scale is None:
                steps.append({"op": "center_crop", "size_hw": _pair(transform.size), "rounding": "half_even"})
            case transforms.ToTensor():  # timm's MaybeToTensor is one
                scale = BYTE
            case transforms.PILToTensor():
                scale = 1.0
            case transforms.Normalize() if scale is not None:
                mean, std = _three(transform.mean), _three(transform.std)
            case _:
                raise JobError(
                    STEP,
                    f"{transform!r} stands in the test transforms, and cannot be served as it was trained; expected "
                    "Resize and CenterCrop of the picture, then ToTensor or PILToTensor, then Normalize",
                )
    if scale is None or not steps:
        raise JobError(
            STEP, "the test transforms make no tensor of one size: expected Resize … and ToTensor among them"
        )
    normalise = {"op": "normalise", "mean": [m * scale for m in mean], "std": [s * scale for s in std]}
    return [*steps, {"op": "to_rgb"}, normalise]


def network_hw(steps: list[dict[str, Any]]) -> tuple[int, int]:
    """Height and width that the steps make of every photo.

    Raises:
        JobError: it is left to the photo.
    """
    sizes = [step["size_hw"] for step in steps if "size_hw" in step]
    if not sizes or any(step["op"] == "resize_shorter_edge" for step in _after(steps, sizes[-1])):
        raise JobError(STEP, "Resize with one number keeps the photo's shape; add a CenterCrop, or give Resize two")
    height, width = sizes[-1]
    return height, width


def _after(steps: list[dict[str, Any]], size: list[int]) -> list[dict[str, Any]]:
    last = max(number for number, step in enumerate(steps) if step.get("size_hw") == size)
    return steps[last + 1 :]


def _resize(transform: transforms.Resize) -> dict[str, Any]:
    if transform.interpolation not in INTERPOLATIONS or transform.max_size is not None:
        raise JobError(
            STEP, f"{transform!r} cannot be served; expected {', '.join(INTERPOLATIONS.values())}, no max_size"
        )
    how = {"interpolation": INTERPOLATIONS[transform.interpolation], "library": "pillow"}
    size = [transform.size] if isinstance(transform.size, int) else list(transform.size)
    if len(size) == 1:
        return {"op": "resize_shorter_edge", "edge": size[0], "rounding": "floor", **how}
    return {"op": "resize_stretch", "size_hw": size, **how}


def _pair(size: Any) -> list[int]:
    sides = [int(size)] if isinstance(size, int) else [int(side) for side in size]
    return [sides[0], sides[-1]]


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
