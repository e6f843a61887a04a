"""Resizing: which size comes out, and the pixels.

Every rule names the library that it reproduces to the pixel; `docs/02-pixels.md` tells where they differ.
"""

import cv2
import numpy as np
from PIL import Image

from vision.contract import Interpolation, Library, ResizeKeepRatio, ResizeShorterEdge, ResizeStretch, ResizeToFit
from vision.errors import ContractError, InvalidImage
from vision.geometry import Hw, Pixels

Resize = ResizeStretch | ResizeKeepRatio | ResizeToFit | ResizeShorterEdge

_OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


def resized_hw(step: Resize, hw: Hw) -> Hw:
    """The size that `step` makes of an image of size `hw`.

    Raises:
        InvalidImage: if a side would vanish.
    """
    if isinstance(step, ResizeStretch):
        return step.size_hw
    if isinstance(step, ResizeToFit):
        size = _fitted(hw, step)
    elif isinstance(step, ResizeKeepRatio):
        size = _kept_ratio(hw, step.long_edge, step.short_edge, np.float32 if step.rounding == "mmdeploy" else float)
    else:
        size = _shorter_edge(hw, step)
    if min(size) < 1:
        raise InvalidImage(
            f"the image is {hw[1]}x{hw[0]}: scaled to what the model takes it would be {size[1]}x{size[0]}."
            " Crop it to a less extreme shape"
        )
    return size


def scale_to_fit(step: ResizeToFit, hw: Hw) -> float:
    """The scale of both axes, before any rounding: network pixels per photo pixel."""
    return min(step.size_hw[0] / hw[0], step.size_hw[1] / hw[1])


def _fitted(hw: Hw, step: ResizeToFit) -> Hw:
    """As Ultralytics' `LetterBox` (`half_even`) and YOLOX's `preproc` (`floor`)."""
    scale = scale_to_fit(step, hw)
    height, width = (max(round(side * scale), 1) if step.rounding == "half_even" else int(side * scale) for side in hw)
    return height, width


def _kept_ratio(hw: Hw, long_edge: int, short_edge: int, real: type[float | np.float32]) -> Hw:
    """As mmcv `rescale_size`; with `real` float32, the SDK's csrc/mmdeploy/preprocess/transform/resize.cpp."""
    scale = real(min(long_edge / max(hw), short_edge / min(hw)))
    height, width = (int(float(real(side) * scale) + 0.5) for side in hw)
    return height, width


def _shorter_edge(hw: Hw, step: ResizeShorterEdge) -> Hw:
    height, width = hw
    size = (step.edge * height // width, step.edge) if width < height else (step.edge, step.edge * width // height)
    return _kept_ratio(hw, max(size), min(size), np.float32) if step.rounding == "mmdeploy" else size


def resized(
    image: Pixels,
    size_hw: Hw,
    interpolation: Interpolation,
    library: Library,
    out: Pixels | None = None,
) -> Pixels:
    """`image` [h, w, 3] at `size_hw`, written into `out` (same dtype, may be a view with a wider row stride) if given.

    Pillow's bilinear, bicubic and lanczos widen their kernel when they shrink (antialiasing), OpenCV's do not. An image
    that already has the size is returned (or copied) as it is.

    Raises:
        ContractError: Pillow asked for on anything but 8-bit pixels.
    """
    if image.shape[:2] == size_hw:
        return image if out is None else _copied(image, out)
    if library == "pillow":
        if image.dtype != np.uint8:
            raise ContractError(f"Pillow resizes 8-bit images, not {image.dtype}: resize before normalising")
        pixels = np.asarray(Image.fromarray(image).resize(size_hw[::-1], _PILLOW[interpolation]))
        return pixels if out is None else _copied(pixels, out)
    result = cv2.resize(image, size_hw[::-1], dst=out, interpolation=_OPENCV[interpolation])
    # OpenCV hands back the very `dst` that it wrote into; if it ever declined one, what it made is copied there.
    return result if out is None or result is out else _copied(result, out)


def _copied(image: Pixels, out: Pixels) -> Pixels:
    np.copyto(out, image)
    return out
