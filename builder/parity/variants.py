"""The mistakes that conversions are made with, as other steps than the contract's."""

from collections.abc import Iterator
from typing import get_args

import numpy as np

from builder.parity.tensors import Tensor
from vision.contract import (
    CenterCrop,
    CropCentralSquare,
    Interpolation,
    Normalise,
    PadCentred,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    ResizeToFit,
    Step,
    ToRgb,
)
from vision.crop import Crop
from vision.pad import Pad
from vision.plan import Steps
from vision.resize import Resize

ROUNDINGS: dict[type[Step], tuple[str, ...]] = {
    ResizeKeepRatio: ("mmcv", "mmdeploy"),
    ResizeToFit: ("half_even", "floor"),
    ResizeShorterEdge: ("floor", "mmdeploy"),
    CenterCrop: ("half_up", "half_even", "floor"),
}


def variants(steps: Steps, source: Tensor) -> Iterator[tuple[str, Steps]]:
    """Other steps, each with the words that follow "they agree if". `source` [3, h, w] gives size and padding."""
    yield from _colours(steps)
    yield from _statistics(steps)
    yield from _resizes(steps)
    yield from _shapes(steps, source)
    yield from _roundings(steps)
    yield from _paddings(steps, source)
    yield from _crops(steps, source)


def _colours(steps: Steps) -> Iterator[tuple[str, Steps]]:
    is_rgb = any(isinstance(step, ToRgb) for step in steps)
    theirs, ours = ("BGR", "RGB") if is_rgb else ("RGB", "BGR")
    text = f"RGB and BGR are exchanged: the source feeds {theirs}, the published model {ours}"
    toggled: Steps = tuple(step for step in steps if not isinstance(step, ToRgb))
    if not is_rgb:
        place = next((n for n, step in enumerate(steps) if isinstance(step, Normalise)), len(steps))
        toggled = (*steps[:place], ToRgb(), *steps[place:])
    yield text, toggled
    yield f"{text}, mean and std with them", _with_reversed_statistics(toggled)
    yield "mean and std are in the other order of channels (RGB or BGR)", _with_reversed_statistics(steps)


def _statistics(steps: Steps) -> Iterator[tuple[str, Steps]]:
    for step in steps:
        if not isinstance(step, Normalise):
            continue
        if all(mean > 0 for mean in step.mean):
            yield "mean and std are exchanged", _replaced(steps, step, Normalise(mean=step.std, std=step.mean))
        for factor in (255.0, 1 / 255):
            scaled = Normalise(mean=_times(step.mean, factor), std=_times(step.std, factor))
            yield (
                f"mean and std are multiplied by {factor:.4g}: 0-1 and 0-255 are mixed up",
                _replaced(steps, step, scaled),
            )
        yield "nothing is normalised", _replaced(steps, step, Normalise(mean=(0, 0, 0), std=(1, 1, 1)))
        yield (
            "pixels are divided by 255 and no more",
            _replaced(steps, step, Normalise(mean=(0, 0, 0), std=(255, 255, 255))),
        )


def _resizes(steps: Steps) -> Iterator[tuple[str, Steps]]:
    for step in steps:
        if not isinstance(step, Resize):
            continue
        other = "pillow" if step.library == "opencv" else "opencv"
        names = {"opencv": "OpenCV", "pillow": "Pillow"}
        text = f"the resize is {names[other]}'s: the source uses {names[other]}, the published model"
        text = f"{text} {names[step.library]}"
        yield text, _replaced(steps, step, step.model_copy(update={"library": other}))
        for library in (step.library, other):
            for kind in get_args(Interpolation):
                if kind != step.interpolation:
                    changed = step.model_copy(update={"library": library, "interpolation": kind})
                    yield (
                        f"the resize is {names[library]}'s {kind}, and not {step.interpolation}",
                        _replaced(steps, step, changed),
                    )


def _shapes(steps: Steps, source: Tensor) -> Iterator[tuple[str, Steps]]:
    """keep_ratio on and off, with the padding that goes with it."""
    hw = (source.shape[1], source.shape[2])
    for step in steps:
        if not isinstance(step, Resize):
            continue
        how = {"interpolation": step.interpolation, "library": step.library}
        without_pad = tuple(other for other in steps if not isinstance(other, Pad))
        if not isinstance(step, ResizeStretch):
            stretch = ResizeStretch.model_validate({"size_hw": hw, **how})
            yield (
                "keep_ratio is off: the source stretches, the published model keeps the aspect ratio",
                _replaced(tuple(other for other in without_pad if not isinstance(other, CenterCrop)), step, stretch),
            )
        if not isinstance(step, ResizeKeepRatio | ResizeToFit):
            edges = {"long_edge": max(hw), "short_edge": min(hw), "rounding": "mmcv"}
            keep = ResizeKeepRatio.model_validate({**edges, **how})
            fit = ResizeToFit.model_validate({"size_hw": hw, "rounding": "half_even", **how})
            text = "keep_ratio is on: the source keeps the aspect ratio, the published model stretches"
            place = without_pad.index(step)
            for resize, pad in ((keep, PadToSize), (fit, PadToSize), (fit, PadCentred)):
                margin = pad(size_hw=hw, value=_corner(steps, source))
                yield text, (*without_pad[:place], resize, margin, *without_pad[place + 1 :])


def _roundings(steps: Steps) -> Iterator[tuple[str, Steps]]:
    for step in steps:
        for rounding in ROUNDINGS.get(type(step), ()):
            if rounding != getattr(step, "rounding", rounding):
                text = f"{step.op} rounds {rounding}: a pixel's difference in size or offset"
                yield text, _replaced(steps, step, step.model_copy(update={"rounding": rounding}))


def _paddings(steps: Steps, source: Tensor) -> Iterator[tuple[str, Steps]]:
    for step in steps:
        if not isinstance(step, Pad):
            continue
        value = _corner(steps, source)
        shown = ", ".join(f"{channel:g}" for channel in value)
        yield (
            f"padding is {shown}, and not {', '.join(f'{v:g}' for v in step.value)}",
            _replaced(steps, step, step.model_copy(update={"value": value})),
        )
        if isinstance(step, PadToDivisor):
            continue
        other = PadCentred if isinstance(step, PadToSize) else PadToSize
        where = "on all sides" if other is PadCentred else "right and below"
        for inside in (step.value, value):
            yield f"padding is added {where}", _replaced(steps, step, other(size_hw=step.size_hw, value=inside))


def _crops(steps: Steps, source: Tensor) -> Iterator[tuple[str, Steps]]:
    hw = (source.shape[1], source.shape[2])
    if any(isinstance(step, Crop) for step in steps):
        kept = tuple(step for step in steps if not isinstance(step, Crop))
        yield "nothing is cropped", kept
    for step in steps:
        if isinstance(step, CropCentralSquare):
            for padding in {0, 32} - {step.padding}:
                changed = step.model_copy(update={"padding": padding})
                yield f"the crop's padding is {padding}, and not {step.padding}", _replaced(steps, step, changed)
        if isinstance(step, ResizeStretch) and step.size_hw == hw and hw[0] == hw[1]:
            for padding in (0, 32):
                crop = CropCentralSquare(size=hw[0], padding=padding)
                yield f"the central square is cropped first (padding {padding})", (crop, *steps)


def _corner(steps: Steps, source: Tensor) -> tuple[float, float, float]:
    """What the source padded with, read off its last pixel, in the order of channels before to_rgb."""
    mean, std = next(((s.mean, s.std) for s in steps if isinstance(s, Normalise)), ((0, 0, 0), (1, 1, 1)))
    pixel = np.rint(source[:, -1, -1] * np.array(std) + np.array(mean)).clip(0, 255).tolist()
    first, second, third = pixel[::-1] if any(isinstance(step, ToRgb) for step in steps) else pixel
    return first, second, third


def _with_reversed_statistics(steps: Steps) -> Steps:
    return tuple(
        Normalise(mean=step.mean[::-1], std=step.std[::-1]) if isinstance(step, Normalise) else step for step in steps
    )


def _replaced(steps: Steps, old: Step, new: Step) -> Steps:
    return tuple(new if step is old else step for step in steps)


def _times(values: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return values[0] * factor, values[1] * factor, values[2] * factor
