"""What will be done to a photo of one size: worked out once, before any pixel is touched."""

from dataclasses import dataclass

from vision.contract import (
    CenterCrop,
    CropCentralSquare,
    Input,
    PadCentred,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    ResizeToFit,
    Step,
)
from vision.crop import crop_origin, cropped_hw
from vision.errors import ContractError
from vision.geometry import Geometry, Hw
from vision.pad import Pad, pad_origin, padded_hw
from vision.resize import Resize, resized_hw, scale_to_fit

Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The way of one photo size through the steps.

    `sizes` are height and width before each step and, last, after all of them; `shape` is the result's, in the input's
    layout and without a batch.
    """

    sizes: tuple[Hw, ...]
    shape: tuple[int, int, int]
    geometry: Geometry


def plan_from_size(steps: Steps, network_input: Input, photo_hw: Hw) -> Plan:
    """Plan `steps` for photos of `photo_hw`.

    Raises:
        InvalidImage: a photo too small, or too extreme in shape, for the steps.
        ContractError: steps that end in another size than the network takes.
    """
    sizes = [photo_hw]
    for step in steps:
        sizes.append(_size_after(step, sizes[-1]))
    wanted, got = network_input.size_hw, sizes[-1]
    if any(side not in (-1, made) for side, made in zip(wanted, got, strict=True)):
        raise ContractError(
            f"input {network_input.name!r} takes {wanted} (height, width), but the preprocess steps make {got}"
            f" of a photo of {photo_hw}. Import the model again with steps that fit"
        )
    shape = (*got, 3) if network_input.layout == "NHWC" else (3, *got)
    return Plan(tuple(sizes), shape, _geometry(steps, sizes))


def steps_in_groups(steps: Steps) -> tuple[list[Steps], Steps]:
    """Steps that are run together: resize and pad in one buffer, and a tail of to_rgb and normalise on the way out.

    Raises:
        ContractError: Pillow asked to resize what has been normalised.
    """
    kinds = [step.op for step in steps]
    for later, step in enumerate(steps):
        if getattr(step, "library", None) == "pillow" and "normalise" in kinds[:later]:
            raise ContractError(f"{step.op} with Pillow stands after normalise, but Pillow resizes 8-bit images only")
    tail = 2 if kinds[-2:] == ["to_rgb", "normalise"] else int(kinds[-1:] in (["to_rgb"], ["normalise"]))
    body: list[Steps] = []
    for step in steps[: len(steps) - tail]:
        if body and len(body[-1]) == 1 and isinstance(body[-1][0], Resize) and isinstance(step, Pad):
            body[-1] = (*body[-1], step)
        else:
            body.append((step,))
    return body, steps[len(steps) - tail :]


def _size_after(step: Step, hw: Hw) -> Hw:
    match step:
        case ResizeStretch() | ResizeKeepRatio() | ResizeToFit() | ResizeShorterEdge():
            return resized_hw(step, hw)
        case PadToSize() | PadToDivisor() | PadCentred():
            return padded_hw(step, hw)
        case CenterCrop() | CropCentralSquare():
            return cropped_hw(step, hw)
        case _:
            return hw


def _geometry(steps: Steps, sizes: list[Hw]) -> Geometry:
    scale_x = scale_y = 1.0
    offset_x = offset_y = 0.0
    for step, before, after in zip(steps, sizes, sizes[1:], strict=False):
        match step:
            case ResizeStretch() | ResizeKeepRatio() | ResizeToFit() | ResizeShorterEdge():
                by_y, by_x = _scale(step, before, after)
                scale_x, scale_y, offset_x, offset_y = scale_x * by_x, scale_y * by_y, offset_x * by_x, offset_y * by_y
            case CenterCrop() | CropCentralSquare():
                top, left = crop_origin(step, before)
                offset_x, offset_y = offset_x - left, offset_y - top
            case PadCentred():
                top, left = pad_origin(step, before, after)
                offset_x, offset_y = offset_x + left, offset_y + top
            case _:
                pass
    return Geometry(photo_hw=sizes[0], scale_xy=(scale_x, scale_y), offset_xy=(offset_x, offset_y))


def _scale(step: Resize, before: Hw, after: Hw) -> tuple[float, float]:
    """By what `step` multiplies y and x, rounded sides and all; YOLOX's own way back ignores the rounding."""
    if isinstance(step, ResizeToFit) and step.rounding == "floor":
        scale = scale_to_fit(step, before)
        return scale, scale
    return after[0] / before[0], after[1] / before[1]
