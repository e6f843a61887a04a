import pytest

from builder.sources.pipeline import Transform, steps_from_transforms
from tests.builder.networks import LETTERBOX, NORMALIZE
from vision.contract import (
    CenterCrop,
    Normalise,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    Step,
    ToRgb,
)
from vision.errors import BuildError

NORMALISE = Normalise(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))


def steps(*transforms: Transform) -> tuple[Step, ...]:
    return steps_from_transforms([*transforms, NORMALIZE])[0][:-1]


def test_the_exported_detector_pipeline_is_letterbox_and_normalise() -> None:
    """What mmdeploy writes for RTMDet becomes three steps; its pad to a divisor of 1 pads nothing and is left out."""
    assert steps_from_transforms(LETTERBOX) == (
        (
            ResizeKeepRatio(long_edge=48, short_edge=32, rounding="mmcv", interpolation="bilinear", library="opencv"),
            PadToSize(size_hw=(32, 48), value=(114.0, 114.0, 114.0)),
            NORMALISE,
        ),
        (),
    )


def test_the_exported_classifier_pipeline_is_shorter_edge_crop_and_normalise() -> None:
    """What mmdeploy 1.3.1 writes for mmpretrain's MobileNetV2 on ImageNet, with the scopes that mmengine notes."""
    exported: list[Transform] = [
        {"type": "LoadImageFromFile", "_scope_": "mmpretrain"},
        {"type": "Resize", "keep_ratio": True, "size": [256, -1]},
        {"type": "CenterCrop", "crop_size": 224, "_scope_": "mmpretrain"},
        {"type": "Normalize", "to_rgb": True, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "_scope_": "mmpretrain", "meta_keys": ["img_norm_cfg", "ori_shape"], "keys": ["img"]},
    ]
    assert steps_from_transforms(exported)[0] == (
        ResizeShorterEdge(edge=256, rounding="floor", interpolation="bilinear", library="opencv"),
        CenterCrop(size_hw=(224, 224), rounding="half_even"),
        ToRgb(),
        Normalise(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    )


@pytest.mark.parametrize("backend", [("cv2", "opencv"), ("pillow", "pillow")])
def test_sizes_are_width_height(backend: tuple[str, str]) -> None:
    """mmcv 2 writes (w, h) in Resize, Pad and CenterCrop, and the library that resized in training is kept."""
    written, library = backend
    made = steps(
        {"type": "Resize", "size": [64, 40], "interpolation": "bicubic", "backend": written},
        {"type": "CenterCrop", "crop_size": [30, 20]},
        {"type": "Pad", "size": [50, 25]},
    )
    assert made == (
        ResizeStretch.model_validate({"size_hw": (40, 64), "interpolation": "bicubic", "library": library}),
        CenterCrop(size_hw=(20, 30), rounding="half_even"),
        PadToSize(size_hw=(25, 50), value=(0.0, 0.0, 0.0)),
    )


def test_whole_numbers_are_squares() -> None:
    """One number stands for both sides, in Resize, CenterCrop and Pad."""
    made = steps({"type": "Resize", "size": 32}, {"type": "CenterCrop", "crop_size": 24}, {"type": "Pad", "size": 28})
    assert made == (
        ResizeStretch(size_hw=(32, 32), interpolation="bilinear", library="opencv"),
        CenterCrop(size_hw=(24, 24), rounding="half_even"),
        PadToSize(size_hw=(28, 28), value=(0.0, 0.0, 0.0)),
    )


def test_what_resize_edge_lost_is_told_and_can_be_settled() -> None:
    """The exporter makes [edge, -1] of ResizeEdge and drops library and interpolation: a note, until both are given."""
    exported = [{"type": "Resize", "keep_ratio": True, "size": [256, -1]}, NORMALIZE]
    made, notes = steps_from_transforms(exported)
    assert made[0] == ResizeShorterEdge(edge=256, rounding="floor", interpolation="bilinear", library="opencv")
    assert "ResizeEdge" in notes[0]
    assert "shorter edge, bilinear, pillow" in steps_from_transforms(exported, "pillow")[1][0]
    made, notes = steps_from_transforms(exported, "pillow", "bicubic")
    assert made[0] == ResizeShorterEdge(edge=256, rounding="floor", interpolation="bicubic", library="pillow")
    assert notes == ()


def test_a_resize_that_is_known_is_not_overruled() -> None:
    """--resize-library is for what a bundle lost; elsewhere it would contradict training."""
    with pytest.raises(BuildError, match="ResizeEdge"):
        steps_from_transforms([{"type": "Resize", "size": 32}, NORMALIZE], "pillow")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (7, (7.0, 7.0, 7.0)),
        ({"img": 9, "seg": 255}, (9.0, 9.0, 9.0)),
        ({"img": [1, 2, 3]}, (1.0, 2.0, 3.0)),
        ({"seg": 255}, (0.0, 0.0, 0.0)),
    ],
)
def test_pad_values(written: object, value: tuple[float, float, float]) -> None:
    """A number is for all channels, a list for each, as mmcv pads; what is said for seg is not for the image."""
    assert steps({"type": "Pad", "size": 8, "pad_val": written}) == (PadToSize(size_hw=(8, 8), value=value),)


def test_a_divisor_pads_after_normalise_unless_the_size_has_it() -> None:
    """Padding that cannot happen is left out; padding that can stays where training had it."""
    resize = {"type": "Resize", "keep_ratio": True, "size": [1333, 800]}
    pad = {"type": "Pad", "size_divisor": 32}
    made = steps_from_transforms([resize, NORMALIZE, pad])[0]
    assert made[1:] == (NORMALISE, PadToDivisor(divisor=32, value=(0.0, 0.0, 0.0)))
    assert steps_from_transforms([{"type": "Resize", "size": [640, 320]}, NORMALIZE, pad])[0][1:] == (NORMALISE,)


def test_to_rgb_comes_before_normalise() -> None:
    """mmcv swaps channels first: mean and std are in RGB order then."""
    assert steps_from_transforms([{**NORMALIZE, "to_rgb": True}])[0] == (ToRgb(), NORMALISE)


@pytest.mark.parametrize(
    ("transform", "parts"),
    [
        ({"type": "EfficientNetCenterCrop", "crop_size": 240}, ["EfficientNetCenterCrop", "CenterCrop"]),
        ({"type": "Lift"}, ["Lift"]),
        ({"type": "Resize", "size": 32, "multiscale_mode": "range"}, ["Resize", "multiscale_mode"]),
        ({"type": "Resize", "size": 32, "interpolation": "cubic"}, ["interpolation", "'cubic'", "bicubic"]),
        ({"type": "Resize", "size": 32, "backend": "tensorflow"}, ["backend", "'tensorflow'"]),
        ({"type": "Resize", "size": 32, "backend": ["cv2"]}, ["backend"]),
        ({"type": "Resize", "size": [32, 32, 3]}, ["Resize", "size", "[32, 32, 3]"]),
        ({"type": "Resize", "size": [0, 32]}, ["Resize", "size", "0"]),
        ({"type": "Resize", "size": [256, -1]}, ["Resize", "size", "-1"]),
        ({"type": "Resize"}, ["Resize", "size", "None"]),
        ({"type": "Resize", "size": True}, ["Resize", "size", "True"]),
        ({"type": "Pad", "size": 32, "pad_to_square": True}, ["Pad", "pad_to_square=True"]),
        ({"type": "Pad", "size": 32, "padding_mode": "reflect"}, ["Pad", "padding_mode='reflect'"]),
        ({"type": "Pad", "size": 32, "orientation_agnostic": True}, ["orientation_agnostic"]),
        ({"type": "Pad", "logical_or_val": 127}, ["Pad", "logical_or_val=127"]),
        ({"type": "Pad", "size": 32, "pad_val": "black"}, ["pad_val", "'black'"]),
        ({"type": "Pad"}, ["Pad", "size_divisor"]),
        ({"type": "LoadImageFromFile", "to_float32": True}, ["to_float32=True"]),
        ({"type": "LoadImageFromFile", "color_type": "grayscale"}, ["color_type='grayscale'"]),
        ({"type": "LoadImageFromFile", "imdecode_backend": "pillow"}, ["imdecode_backend='pillow'"]),
        ({"type": "CenterCrop", "crop_size": 32, "auto_pad": True}, ["auto_pad=True"]),
        ({"type": "CenterCrop"}, ["crop_size"]),
        ({"type": "Normalize", "mean": [0, 0], "std": [1, 1, 1], "to_rgb": True}, ["mean", "[0, 0]"]),
        ({"type": "Normalize", "mean": [0, 0, 0], "std": [1, 0, 1], "to_rgb": True}, ["Normalize", "std"]),
        ({"type": "Normalize", "mean": [0, 0, 0], "std": [1, 1, 1]}, ["Normalize", "to_rgb=None"]),
        ({**NORMALIZE, "to_float": False}, ["to_float=False"]),
        ({"type": "Collect", "keys": ["img", "gt"]}, ["Collect", "gt"]),
        ("Resize", ["transform 0", "'Resize'"]),
    ],
)
def test_what_is_not_served_is_refused_by_name(transform: Transform, parts: list[str]) -> None:
    """An unknown transform, an unknown argument, or one that changes pixels otherwise: never guessed, never dropped."""
    with pytest.raises(BuildError) as caught:
        steps_from_transforms([transform, NORMALIZE])
    assert caught.value.step == "contract"
    for part in parts:
        assert part in caught.value.detail


def test_mean_and_std_have_no_default() -> None:
    """A pipeline without Normalize is refused."""
    with pytest.raises(BuildError, match="Normalize"):
        steps_from_transforms([{"type": "Resize", "size": 32}])
