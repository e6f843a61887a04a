"""The steps against `mmdeploy_runtime`, the C++ SDK: the tensor that its network gets, value by value."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.vision.contracts import classifier
from tests.vision.encoded import noise
from tests.vision.sdk import COLOUR, FORMAT, PLAIN, TENSOR, SdkPreprocessing
from vision.contract import (
    CenterCrop,
    Interpolation,
    Normalise,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    Step,
    ToRgb,
)
from vision.resize import resized_hw
from vision.transforms import Preprocessor

ULP = 5e-7
"""float32 near 2.6, the largest normalised value: the SDK multiplies by 1 / std where the contract divides."""
SIZES = [
    *((33, 38), (100, 67), (67, 100), (50, 50), (47, 43), (54, 33), (40, 60), (31, 97), (200, 33), (75, 113)),
    *((32, 48), (48, 32), (32, 32), (48, 48), (33, 49), (31, 47), (96, 64), (64, 96), (95, 64), (97, 65)),
    *((240, 320), (241, 319), (120, 161), (213, 160), (100, 101), (101, 100), (7, 9), (9, 7), (20, 3), (3, 20)),
]
"""Odd, square, larger, smaller and equal to the target, and extreme; height and width."""

Transforms = list[dict[str, Any]]

KEEP_RATIO: dict[str, Any] = {"type": "Resize", "size": [48, 32], "keep_ratio": True}
PAD_64_48: dict[str, Any] = {"type": "Pad", "size": [64, 48], "pad_val": {"img": [114, 114, 114]}}
OUR_KEEP_RATIO = ResizeKeepRatio(
    long_edge=48, short_edge=32, rounding="mmdeploy", interpolation="bilinear", library="opencv"
)
OUR_PAD = PadToSize(size_hw=(48, 64), value=(114, 114, 114))
OUR_PLAIN = Normalise(mean=(0, 0, 0), std=(1, 1, 1))
OUR_COLOUR = Normalise(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))


def stretch(interpolation: Interpolation) -> ResizeStretch:
    return ResizeStretch(size_hw=(32, 48), interpolation=interpolation, library="opencv")


def shorter_edge(rounding: Any) -> ResizeShorterEdge:
    return ResizeShorterEdge(edge=32, rounding=rounding, interpolation="bilinear", library="opencv")


CASES: dict[str, tuple[Transforms, tuple[Step, ...]]] = {
    **{
        f"stretch {name}": (
            [{"type": "Resize", "size": [48, 32], "interpolation": name}, PLAIN, TENSOR],
            (stretch(name), OUR_PLAIN),
        )
        for name in ("nearest", "bilinear", "bicubic", "area", "lanczos")
    },
    "keep ratio": ([KEEP_RATIO, PLAIN, TENSOR], (OUR_KEEP_RATIO, OUR_PLAIN)),
    "shorter edge": (
        [{"type": "Resize", "size": [32, -1], "keep_ratio": True}, PLAIN, TENSOR],
        (shorter_edge("mmdeploy"), OUR_PLAIN),
    ),
    "shorter edge without keep_ratio": (
        [{"type": "Resize", "size": [32, -1], "keep_ratio": False}, PLAIN, TENSOR],
        (shorter_edge("floor"), OUR_PLAIN),
    ),
    "letterbox": (
        [KEEP_RATIO, PAD_64_48, {**COLOUR, "to_rgb": False}, FORMAT],
        (OUR_KEEP_RATIO, OUR_PAD, OUR_COLOUR),
    ),
    "letterbox in rgb": (
        [KEEP_RATIO, PAD_64_48, {**COLOUR, "to_rgb": True}, FORMAT],
        (OUR_KEEP_RATIO, OUR_PAD, ToRgb(), OUR_COLOUR),
    ),
    "pad to divisor after normalising": (
        [KEEP_RATIO, {**COLOUR, "to_rgb": True}, {"type": "Pad", "size_divisor": 32, "pad_val": 0.5}, FORMAT],
        (OUR_KEEP_RATIO, ToRgb(), OUR_COLOUR, PadToDivisor(divisor=32, value=(0.5, 0.5, 0.5))),
    ),
    "resize and centre crop": (
        [
            {"type": "Resize", "size": [64, -1], "keep_ratio": True},
            {"type": "CenterCrop", "crop_size": [57, 48]},
            {**COLOUR, "to_rgb": True},
            TENSOR,
        ],
        (
            ResizeShorterEdge(edge=64, rounding="mmdeploy", interpolation="bilinear", library="opencv"),
            CenterCrop(size_hw=(57, 48), rounding="half_up"),
            ToRgb(),
            OUR_COLOUR,
        ),
    ),
}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SdkPreprocessing]:
    """The SDK with one of the cases' pipelines, loaded once."""

    @cache
    def load(case: str) -> SdkPreprocessing:
        return SdkPreprocessing(tmp_path_factory.mktemp("sdk"), CASES[case][0])

    return load


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_same_tensor(case: str, size_hw: tuple[int, int], sdk: Callable[[str], SdkPreprocessing]) -> None:
    """Resizing, padding and cropping agree exactly, normalisation to the last bit of float32."""
    image = noise(*size_hw)
    ours, _ = Preprocessor(classifier(*CASES[case][1]))(image)
    theirs = sdk(case)(image, (3, ours.shape[1], ours.shape[2]))
    apart = np.abs(ours - theirs)
    if case == "stretch bicubic":
        # The SDK carries OpenCV 4; its bicubic rounds one value in some thousand otherwise than OpenCV 5's.
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-3
    else:
        assert apart.max() <= (0 if CASES[case][1][-1] == OUR_PLAIN else ULP)


def test_where_mmcv_and_the_sdk_disagree(sdk: Callable[[str], SdkPreprocessing]) -> None:
    """At sizes where float32 and float64 round apart, `mmdeploy` is what the SDK does, and `mmcv` is not."""
    mmcv_rule = OUR_KEEP_RATIO.model_copy(update={"rounding": "mmcv"})
    apart = [
        (height, width)
        for height in range(9, 400)
        for width in range(9, 400, 3)
        if resized_hw(OUR_KEEP_RATIO, (height, width)) != resized_hw(mmcv_rule, (height, width))
    ]
    assert apart
    for size_hw in apart:
        image = noise(*size_hw)
        assert sdk("keep ratio").count(image) == 3 * int(np.prod(resized_hw(OUR_KEEP_RATIO, size_hw)))
        assert sdk("keep ratio").count(image) != 3 * int(np.prod(resized_hw(mmcv_rule, size_hw)))


def test_the_sdk_makes_shorter_edges_one_pixel_short(sdk: Callable[[str], SdkPreprocessing]) -> None:
    """`[32, -1]` with keep_ratio leaves 31 pixels of 100x67: that is the SDK's, and `floor` keeps 32."""
    assert resized_hw(shorter_edge("mmdeploy"), (100, 67)) == (47, 31)
    assert resized_hw(shorter_edge("floor"), (100, 67)) == (47, 32)
    assert sdk("shorter edge").count(noise(100, 67)) == 3 * 47 * 31
