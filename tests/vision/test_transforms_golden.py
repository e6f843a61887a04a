"""The steps against what the training libraries made of the same photos, value by value.

`tests/golden/record.py` records them where those libraries are installed.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.vision.contracts import classifier
from tests.vision.encoded import noise
from vision.contract import (
    CenterCrop,
    Contract,
    CropCentralSquare,
    Interpolation,
    Library,
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
from vision.transforms import Preprocessor

FOLDER = Path(__file__).parents[1] / "golden"
BGR = Normalise(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))
RGB = Normalise(mean=BGR.mean[::-1], std=BGR.std[::-1])
LIBRARIES: dict[str, Library] = {"cv2": "opencv", "pillow": "pillow"}
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic", "area", "lanczos")


def keep_ratio(long_edge: int, short_edge: int) -> ResizeKeepRatio:
    return ResizeKeepRatio(
        long_edge=long_edge, short_edge=short_edge, rounding="mmcv", interpolation="bilinear", library="opencv"
    )


def letterbox(height: int, width: int) -> tuple[Step, ...]:
    size_hw, grey = (height, width), (114, 114, 114)
    resize = ResizeToFit(size_hw=size_hw, rounding="half_even", interpolation="bilinear", library="opencv")
    return resize, PadCentred(size_hw=size_hw, value=grey)


def yolox(height: int, width: int) -> tuple[Step, ...]:
    size_hw, grey = (height, width), (114, 114, 114)
    resize = ResizeToFit(size_hw=size_hw, rounding="floor", interpolation="bilinear", library="opencv")
    return resize, PadToSize(size_hw=size_hw, value=grey), Normalise(mean=(0, 0, 0), std=(1, 1, 1))


def central_square(size: int, padding: int) -> tuple[Step, ...]:
    resize = ResizeStretch(size_hw=(size, size), interpolation="bicubic", library="pillow")
    return CropCentralSquare(size=size, padding=padding), resize


def edge_and_crop(interpolation: Interpolation, library: Library) -> tuple[Step, ...]:
    resize = ResizeShorterEdge(edge=19, rounding="floor", interpolation=interpolation, library=library)
    return resize, CenterCrop(size_hw=(16, 16), rounding="half_even")


CASES: dict[str, tuple[Step, ...]] = {
    **{
        f"mmcv/imresize {backend} {name}": (ResizeStretch(size_hw=(15, 19), interpolation=name, library=library),)
        for backend, library in LIBRARIES.items()
        for name in INTERPOLATIONS
        if (backend, name) != ("pillow", "area")
    },
    "mmcv/imrescale": (keep_ratio(28, 20),),
    "mmcv/impad": (keep_ratio(24, 16), PadToSize(size_hw=(18, 26), value=(114, 7, 255))),
    "mmcv/impad_to_multiple": (keep_ratio(20, 14), PadToDivisor(divisor=16, value=(9, 9, 9))),
    "mmcv/imnormalize": (keep_ratio(14, 10), ToRgb(), RGB),
    "mmdet/rtmdet": (keep_ratio(24, 24), PadToSize(size_hw=(24, 24), value=(114, 114, 114)), BGR),
    "mmpretrain/efficientnet crop": central_square(24, 3),
    "mmpretrain/efficientnet crop, wide margin": central_square(16, 32),
    "mmpretrain/edge and crop": edge_and_crop("bilinear", "opencv"),
    "mmpretrain/edge and crop, pillow bicubic": edge_and_crop("bicubic", "pillow"),
    "mmpretrain/resnet": (*edge_and_crop("bilinear", "opencv"), ToRgb(), RGB),
    "torchvision/bilinear": (
        *edge_and_crop("bilinear", "pillow"),
        ToRgb(),
        Normalise(mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), std=(0.229 * 255, 0.224 * 255, 0.225 * 255)),
    ),
    "torchvision/bicubic": (*edge_and_crop("bicubic", "pillow"), ToRgb()),
    "ultralytics/letterbox": letterbox(32, 32),
    "ultralytics/letterbox, oblong": letterbox(24, 41),
    "ultralytics/tensor": (*letterbox(32, 32), ToRgb(), Normalise(mean=(0, 0, 0), std=(255, 255, 255))),
    "yolox/preproc": yolox(32, 32),
    "yolox/preproc, oblong": yolox(24, 41),
}
PLANES = (
    "mmdet/rtmdet",
    "mmpretrain/resnet",
    "torchvision/bilinear",
    "ultralytics/tensor",
    "yolox/preproc",
    "yolox/preproc, oblong",
)
"""Recorded as [3, h, w]; the others as [h, w, 3]."""


def golden_keys() -> list[str]:
    return [f"{path.stem}/{key}" for path in sorted(FOLDER.glob("*.npz")) for key in np.load(path).files]


def contract_of(case: str) -> Contract:
    layout: Literal["NCHW", "NHWC"] = "NCHW" if case in PLANES else "NHWC"
    return classifier(*CASES[case], layout=layout)


@pytest.mark.parametrize("key", golden_keys())
def test_same_values(key: str) -> None:
    """8-bit steps are equal to the training library's, normalised ones within 1e-6."""
    library, case, size = key.split("/")
    expected = np.load(FOLDER / f"{library}.npz")[f"{case}/{size}"]
    height, width = (int(side) for side in size.split("x"))
    ours, _ = Preprocessor(contract_of(f"{library}/{case}"))(noise(height, width))
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(ours, expected, rtol=0, atol=0 if expected.dtype == np.uint8 else 1e-6)


def test_every_case_was_recorded() -> None:
    """No step is compared with nothing: cases and recordings match one to one."""
    assert {key.rsplit("/", 1)[0] for key in golden_keys()} == set(CASES)
