"""The preprocessing steps of a contract, planned once and run for every photo."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from vision.contract import (
    CenterCrop,
    Contract,
    Normalise,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    ToRgb,
)
from vision.crop import crop_origin
from vision.dtypes import DTYPES
from vision.errors import ContractError, InvalidImage
from vision.geometry import Geometry, Hw, Pixels
from vision.pad import Pad, fill_margins, padded
from vision.plan import Steps, plan_from_size, steps_in_groups
from vision.resize import Resize, resized
from vision.tensor import normalised, write_planes

__all__ = ["Geometry", "Preprocessor"]

Operation = Callable[[Pixels, tuple[Hw, ...], Pixels | None], Pixels]
"""From an image, the sizes after each step of the group, and where to write if that is wanted; may return a view."""


class Preprocessor:
    """Turns decoded photos into a model's input, as its contract says. Safe to share between threads."""

    def __init__(self, contract: Contract) -> None:
        """Plan the contract's steps.

        Raises:
            ContractError: steps that cannot be run in their order.
        """
        self._input = contract.input
        self._dtype = DTYPES[contract.input.dtype]
        self._steps = contract.preprocess
        body, tail = steps_in_groups(contract.preprocess)
        self._operations = [(len(group), _operation(group)) for group in body]
        self._finish = _finish(tail)
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

    def __call__(self, image_bgr: NDArray[np.uint8], out: Pixels | None = None) -> tuple[Pixels, Geometry]:
        """Preprocess one photo, uint8 [h, w, 3] BGR.

        Returns the network's input without a batch dimension, in the contract's dtype and layout, and where the photo
        lies in it. With `out` (C-contiguous, of that shape and dtype) the result is written there and `out` returned.

        Raises:
            InvalidImage: a photo too small, or too extreme in shape, for the steps.
            ContractError: steps that end in another size than the network takes.
            ValueError: an `image_bgr` or `out` of the wrong shape or dtype.
        """
        if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3:
            raise ValueError(f"expected a uint8 image [h, w, 3], got {image_bgr.dtype} {list(image_bgr.shape)}")
        plan = self._plan((image_bgr.shape[0], image_bgr.shape[1]))
        if out is None:
            out = np.empty(plan.shape, self._dtype)
        elif out.shape != plan.shape or out.dtype != self._dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"expected contiguous {self._dtype} {list(plan.shape)} as out, got {out.dtype} {list(out.shape)}"
            )
        self._write(image_bgr, plan.sizes, out)
        return out, plan.geometry

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Pixels, list[Geometry]]:
        """Preprocess photos into one buffer [n, ...], each written in its place.

        Raises:
            InvalidImage: photos that come out in different sizes, and as for one photo.
        """
        plans = [self._plan((image.shape[0], image.shape[1])) for image in images]
        sizes = {plan.sizes[-1] for plan in plans}
        if len(sizes) != 1:
            raise InvalidImage(
                f"photos of one batch must come out in one size, got {sorted(sizes) or 'no photos'} (height, width)."
                " Send them one by one"
            )
        batch = np.empty((len(images), *plans[0].shape), self._dtype)
        return batch, [self(image, out)[1] for image, out in zip(images, batch, strict=True)]

    def _write(self, photo: NDArray[np.uint8], sizes: tuple[Hw, ...], out: Pixels) -> None:
        """Run the steps on `photo` and leave the result in `out`."""
        image: Pixels = photo
        done = 0
        for count, operation in self._operations:
            done += count
            into = out if self._writes_directly and done == len(self._steps) else None
            image = operation(image, sizes[done - count + 1 : done + 1], into)
        if image is not out:
            self._finish(image, out if self._input.layout == "NHWC" else out.transpose(1, 2, 0))


def _operation(group: Steps) -> Operation:
    """How to run steps that go together, chosen once: matching steps for every photo would take longer than padding."""
    match group:
        case (ResizeStretch() | ResizeKeepRatio() | ResizeShorterEdge() as step,):
            return partial(_resize, step)
        case (
            ResizeStretch() | ResizeKeepRatio() | ResizeShorterEdge() as step,
            PadToSize() | PadToDivisor() as pad,
        ):
            return partial(_letterbox, step, pad)
        case (PadToSize() | PadToDivisor() as pad,):
            return lambda image, sizes, out: padded(image, sizes[0], pad, out)
        case (CenterCrop() as crop,):
            return partial(_crop, crop)
        case (ToRgb(),):
            return lambda image, _sizes, _out: np.ascontiguousarray(image[..., ::-1])
        case (Normalise() as normalise,):
            return lambda image, _sizes, _out: normalised(image, normalise)
        case _:
            raise ContractError(f"no way to run the steps {[step.op for step in group]} together")


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


def _resize(step: Resize, image: Pixels, sizes: tuple[Hw, ...], out: Pixels | None) -> Pixels:
    return resized(image, sizes[0], step.interpolation, step.library, out)


def _letterbox(step: Resize, pad: Pad, image: Pixels, sizes: tuple[Hw, ...], out: Pixels | None) -> Pixels:
    """Resize into the upper left corner of the padded image itself."""
    inner_hw, hw = sizes
    canvas = np.empty((*hw, 3), image.dtype) if out is None else out
    resized(image, inner_hw, step.interpolation, step.library, canvas[: inner_hw[0], : inner_hw[1]])
    fill_margins(canvas, inner_hw, pad)
    return canvas


def _crop(step: CenterCrop, image: Pixels, _sizes: tuple[Hw, ...], _out: Pixels | None) -> Pixels:
    top, left = crop_origin(step, (image.shape[0], image.shape[1]))
    return image[top : top + step.size_hw[0], left : left + step.size_hw[1]]
