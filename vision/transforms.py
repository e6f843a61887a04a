"""The preprocessing steps of a contract, planned once and run for every photo."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from vision.contract import (
    CenterCrop,
    Contract,
    CropCentralSquare,
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
from vision.crop import Crop, crop_origin
from vision.decode import JpegDecoder, exact, image_from_bytes, picture_from_bytes
from vision.dtypes import DTYPES
from vision.errors import ContractError, InvalidImage
from vision.geometry import Geometry, Hw, Picture, Pixels, Scaled
from vision.pad import Pad, fill_margins, inner_view, padded
from vision.plan import Steps, plan_from_size, steps_in_groups
from vision.resize import Resize, resized
from vision.tensor import normalised, write_planes

__all__ = ["Geometry", "Preprocessor"]

Lap = Callable[[str], None]
"""Told what has just been done, by the names of the steps; for a profile."""
Operation = Callable[[Pixels, tuple[Hw, ...], Pixels | None, Lap], Pixels]
"""From an image, the sizes after each step of the group, and where to write if that is wanted; may return a view."""


def unmeasured(_: str) -> None:
    """What serving does with a lap."""


class Preprocessor:
    """Turns decoded photos into a model's input, as its contract says. Safe to share between threads."""

    def __init__(self, contract: Contract, *, jpeg: JpegDecoder = exact) -> None:
        """Plan the contract's steps; `jpeg` decodes the JPEGs that are not to be scaled down.

        Raises:
            ContractError: steps that cannot be run in their order.
        """
        self._input = contract.input
        self._jpeg = jpeg
        self._scales = contract.decode == "fast"
        self._dtype = DTYPES[contract.input.dtype]
        self._steps = contract.preprocess
        body, tail = steps_in_groups(contract.preprocess)
        self._operations = [(len(group), _operation(group)) for group in body]
        self._finish = _finish(tail)
        self._finish_name = _names(tail) or "Collect"
        self._writes_directly = not tail and contract.input.dtype == "UINT8" and contract.input.layout == "NHWC"
        # Cameras and films send one size over and over.
        self._plan = lru_cache(maxsize=256)(partial(plan_from_size, contract.preprocess, contract.input))

    def network_hw(self, photo_hw: Hw) -> Hw:
        """Height and width in which a photo of `photo_hw` reaches the network.

        Raises:
            InvalidImage: a photo too small, or too extreme in shape, for the steps.
            ContractError: steps that end in another size than the network takes.
        """
        return self._plan(photo_hw).sizes[-1]

    def decoded(self, data: bytes, *, max_pixels: int) -> Picture:
        """Decode one encoded photo as the contract says: all of its pixels, or with `decode: fast` as many as it needs.

        Raises:
            InvalidImage, UnsupportedMediaType, TooLarge: as `vision.decode.image_from_bytes`, and as `network_hw`.
            ContractError: steps that end in another size than the network takes.
        """
        if not self._scales:
            return image_from_bytes(data, max_pixels=max_pixels, jpeg=self._jpeg)
        return picture_from_bytes(data, self._resized_hw, max_pixels=max_pixels, jpeg=self._jpeg)

    def _resized_hw(self, photo_hw: Hw) -> Hw:
        """After the first step, which the contract says is a resize where decoding may scale."""
        return self._plan(photo_hw).sizes[1]

    def __call__(self, photo: Picture, out: Pixels | None = None, *, lap: Lap = unmeasured) -> tuple[Pixels, Geometry]:
        """Preprocess one photo, uint8 [h, w, 3] BGR, or what `decoded` made of it.

        Returns the network's input without a batch dimension, in the contract's dtype and layout, and where the photo
        lies in it. With `out` (C-contiguous, of that shape and dtype) the result is written there and `out` returned.

        Raises:
            InvalidImage: a photo too small, or too extreme in shape, for the steps.
            ContractError: steps that end in another size than the network takes.
            ValueError: a `photo` or `out` of the wrong shape or dtype.
        """
        image_bgr, photo_hw = _pixels_and_size(photo)
        if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3:
            raise ValueError(f"expected a uint8 image [h, w, 3], got {image_bgr.dtype} {list(image_bgr.shape)}")
        plan = self._plan(photo_hw)
        if out is None:
            out = np.empty(plan.shape, self._dtype)
        elif out.shape != plan.shape or out.dtype != self._dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"expected contiguous {self._dtype} {list(plan.shape)} as out, got {out.dtype} {list(out.shape)}"
            )
        self._write(image_bgr, plan.sizes, out, lap)
        return out, plan.geometry.of_scaled(photo) if isinstance(photo, Scaled) else plan.geometry

    def batch(self, photos: Sequence[Picture]) -> tuple[Pixels, list[Geometry]]:
        """Preprocess photos into one buffer [n, ...], each written in its place.

        Raises:
            InvalidImage: photos that come out in different sizes, and as for one photo.
        """
        plans = [self._plan(_pixels_and_size(photo)[1]) for photo in photos]
        sizes = {plan.sizes[-1] for plan in plans}
        if len(sizes) != 1:
            raise InvalidImage(
                f"photos of one batch must come out in one size, got {sorted(sizes) or 'no photos'} (height, width)."
                " Send them one by one"
            )
        batch = np.empty((len(photos), *plans[0].shape), self._dtype)
        return batch, [self(photo, out)[1] for photo, out in zip(photos, batch, strict=True)]

    def _write(self, photo: NDArray[np.uint8], sizes: tuple[Hw, ...], out: Pixels, lap: Lap) -> None:
        """Run the steps on `photo` and leave the result in `out`."""
        image: Pixels = photo
        done = 0
        for count, operation in self._operations:
            done += count
            into = out if self._writes_directly and done == len(self._steps) else None
            image = operation(image, sizes[done - count + 1 : done + 1], into, lap)
        if image is not out:
            self._finish(image, out if self._input.layout == "NHWC" else out.transpose(1, 2, 0))
            lap(self._finish_name)


def _pixels_and_size(photo: Picture) -> tuple[NDArray[np.uint8], Hw]:
    """The pixels there are, and the size of the whole photo."""
    if isinstance(photo, Scaled):
        return photo.image_bgr, photo.photo_hw
    return photo, (photo.shape[0], photo.shape[1])


def _operation(group: Steps) -> Operation:
    """How to run steps that go together, chosen once: matching steps for every photo would take longer than padding."""
    match group:
        case (
            ResizeStretch() | ResizeKeepRatio() | ResizeToFit() | ResizeShorterEdge() as step,
            PadToSize() | PadToDivisor() | PadCentred() as pad,
        ):
            return partial(_letterbox, step, pad, (_names((step,)), _names((pad,))))
        case (step,):
            return partial(_alone, _single(step), _names(group))
        case _:
            raise ContractError(f"no way to run the steps {[step.op for step in group]} together")


def _single(step: Step) -> Callable[[Pixels, tuple[Hw, ...], Pixels | None], Pixels]:
    match step:
        case ResizeStretch() | ResizeKeepRatio() | ResizeToFit() | ResizeShorterEdge():
            return partial(_resize, step)
        case PadToSize() | PadToDivisor() | PadCentred():
            return lambda image, sizes, out: padded(image, sizes[0], step, out)
        case CenterCrop() | CropCentralSquare():
            return partial(_crop, step)
        case ToRgb():
            return lambda image, _sizes, _out: np.ascontiguousarray(image[..., ::-1])
        case Normalise():
            return lambda image, _sizes, _out: normalised(image, step)


def _names(steps: Steps) -> str:
    return " + ".join(type(step).__name__ for step in steps)


def _finish(tail: Steps) -> Callable[[Pixels, Pixels], None]:
    """How the image gets into the result, which is seen as [h, w, 3] whatever its layout."""
    match tail:
        case ():
            return lambda image, out_hwc: np.copyto(out_hwc, image)
        case (ToRgb(),):
            return lambda image, out_hwc: np.copyto(out_hwc, image[..., ::-1])
        case (*swap, Normalise() as normalise):
            return lambda image, out_hwc: write_planes(image, normalise, bool(swap), out_hwc.transpose(2, 0, 1))
        case _:
            raise ContractError(f"no way to end on the steps {[step.op for step in tail]}")


def _alone(
    run: Callable[[Pixels, tuple[Hw, ...], Pixels | None], Pixels],
    name: str,
    image: Pixels,
    sizes: tuple[Hw, ...],
    out: Pixels | None,
    lap: Lap,
) -> Pixels:
    result = run(image, sizes, out)
    lap(name)
    return result


def _resize(step: Resize, image: Pixels, sizes: tuple[Hw, ...], out: Pixels | None) -> Pixels:
    return resized(image, sizes[0], step.interpolation, step.library, out)


def _letterbox(
    step: Resize,
    pad: Pad,
    names: tuple[str, str],
    image: Pixels,
    sizes: tuple[Hw, ...],
    out: Pixels | None,
    lap: Lap,
) -> Pixels:
    """Resize into its place in the padded image itself."""
    inner_hw, hw = sizes
    canvas = np.empty((*hw, 3), image.dtype) if out is None else out
    resized(image, inner_hw, step.interpolation, step.library, inner_view(canvas, inner_hw, pad))
    lap(names[0])
    fill_margins(canvas, inner_hw, pad)
    lap(names[1])
    return canvas


def _crop(step: Crop, image: Pixels, sizes: tuple[Hw, ...], _out: Pixels | None) -> Pixels:
    top, left = crop_origin(step, (image.shape[0], image.shape[1]))
    [(height, width)] = sizes
    return image[top : top + height, left : left + width]
