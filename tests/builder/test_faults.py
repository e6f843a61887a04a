"""Mistakes that conversions are made with, made on purpose: parity stops each, and says which it is."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from builder.graphs.precision import with_int8
from builder.parity import check_parity, require
from builder.recipes.parts import Tolerance
from builder.verify import Runner, Side
from tests.builder import networks
from tests.builder.parity.sides import (
    CLASSIFIER_HEAD,
    EXACT,
    HEIGHT,
    KEEP_RATIO,
    LETTERBOX,
    NORMALISE,
    PAD,
    WIDTH,
    answers_of,
    balloon,
    classifier,
    contract_of,
    detector,
    large,
    parity_of,
    photos,
    resized,
    with_contract,
)
from vision.contract import CenterCrop, Normalise, PadToSize, ResizeShorterEdge, ResizeStretch, Step, ToRgb
from vision.decode import image_from_bytes
from vision.errors import BuildError

SIZE_HW = (HEIGHT, WIDTH)
STRETCH = ResizeStretch(size_hw=SIZE_HW, interpolation="bilinear", library="opencv")
CROP = CenterCrop(size_hw=SIZE_HW, rounding="half_even")
SHORTER = ResizeShorterEdge(edge=67, rounding="floor", interpolation="bilinear", library="opencv")


def replaced(old: Step, new: Step | tuple[Step, ...], steps: tuple[Step, ...] = LETTERBOX) -> tuple[Step, ...]:
    inserted = new if isinstance(new, tuple) else (new,)
    place = steps.index(old)
    return (*steps[:place], *inserted, *steps[place + 1 :])


CROPPED: tuple[Step, ...] = (SHORTER, CROP, ToRgb(), NORMALISE)
FAULTS: dict[str, tuple[tuple[Step, ...], tuple[Step, ...], str]] = {
    "mean and std swapped": (
        LETTERBOX,
        replaced(NORMALISE, Normalise(mean=NORMALISE.std, std=NORMALISE.mean)),
        "mean and std are exchanged",
    ),
    "RGB for BGR": (LETTERBOX, replaced(ToRgb(), ()), "RGB and BGR are exchanged: the source feeds RGB"),
    "BGR for RGB": (replaced(ToRgb(), ()), LETTERBOX, "RGB and BGR are exchanged: the source feeds BGR"),
    "statistics in the other order": (
        LETTERBOX,
        replaced(NORMALISE, Normalise(mean=NORMALISE.mean[::-1], std=NORMALISE.std[::-1])),
        "mean and std are in the other order",
    ),
    "statistics for 0-1": (
        LETTERBOX,
        replaced(NORMALISE, Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))),
        "0-1 and 0-255 are mixed up",
    ),
    "keep_ratio off": (
        LETTERBOX,
        (STRETCH, ToRgb(), NORMALISE),
        "keep_ratio is on: the source keeps the aspect ratio, the published model stretches",
    ),
    "keep_ratio on": (
        (STRETCH, ToRgb(), NORMALISE),
        LETTERBOX,
        "keep_ratio is off: the source stretches, the published model keeps the aspect ratio",
    ),
    "Pillow for OpenCV": (
        LETTERBOX,
        replaced(KEEP_RATIO, KEEP_RATIO.model_copy(update={"library": "pillow"})),
        "the source uses OpenCV, the published model Pillow",
    ),
    "OpenCV for Pillow": (
        replaced(KEEP_RATIO, KEEP_RATIO.model_copy(update={"library": "pillow"})),
        LETTERBOX,
        "the source uses Pillow, the published model OpenCV",
    ),
    "another interpolation": (
        LETTERBOX,
        replaced(KEEP_RATIO, KEEP_RATIO.model_copy(update={"interpolation": "nearest"})),
        "OpenCV's bilinear, and not nearest",
    ),
    "crop one pixel off": (
        CROPPED,
        replaced(CROP, CROP.model_copy(update={"rounding": "half_up"}), CROPPED),
        "center_crop rounds half_even: a pixel's difference",
    ),
    "no crop": (
        (STRETCH, ToRgb(), NORMALISE),
        (SHORTER, CROP, ToRgb(), NORMALISE),
        "the source stretches, the published model keeps the aspect ratio",
    ),
    "padding of another colour": (
        LETTERBOX,
        replaced(PAD, PadToSize(size_hw=PAD.size_hw, value=(0, 0, 0))),
        "padding is 114, 114, 114, and not 0, 0, 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_steps_are_stopped_and_named(fault: str) -> None:
    """The gate says that pixels differ, on which image, by how much, and which mistake it is."""
    right, wrong, cause = FAULTS[fault]
    source, _ = classifier(right)
    _, published = classifier(wrong)
    report = parity_of(source, published)
    with pytest.raises(BuildError) as caught:
        require(report)
    assert caught.value.step == "parity"
    detail = caught.value.detail
    assert cause in detail, detail
    assert "preprocess: pixels differ by up to" in detail
    assert any(name in detail for name, _ in photos())
    assert "tolerance 0" in detail


def test_the_same_steps_pass() -> None:
    """What agrees passes, for every steps that a fault is seeded into."""
    for steps in {right for right, _, _ in FAULTS.values()}:
        require(parity_of(*classifier(steps)))
        require(parity_of(*detector(steps)))


def test_pixels_one_to_the_side_are_named_where_no_rounding_explains_them() -> None:
    """A tensor that is the source's moved by a pixel: the direction is told."""
    source, published = classifier()
    answers = answers_of(source, "test-card-palette.png")
    moved = [_moved(answer.answer.tensor) for answer in answers]
    references = [
        replace(one, answer=replace(one.answer, tensor=tensor)) for one, tensor in zip(answers, moved, strict=True)
    ]
    report = check_parity(published, references, EXACT, precision="fp32")
    assert "moved by 1 px to the right and 0 px down" in report.failures[0]


def _moved(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.roll(tensor, 1, axis=2)


def test_another_size_is_a_failure_with_both_sizes() -> None:
    """Tensors of two sizes are not compared: both are told."""
    source, _ = contract_of(
        resized(networks.classifier(), 32, 48),
        (STRETCH.model_copy(update={"size_hw": (32, 48)}), ToRgb(), NORMALISE),
        CLASSIFIER_HEAD,
        tuple("abcd"),
    )
    _, other = contract_of(
        resized(networks.classifier(), 40, 48),
        (STRETCH.model_copy(update={"size_hw": (40, 48)}), ToRgb(), NORMALISE),
        CLASSIFIER_HEAD,
        tuple("abcd"),
    )
    assert "the source feeds 48x32 (width x height), the published model 48x40" in parity_of(source, other).failures[0]


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_class_dropped_from_the_labels_is_named(place: int) -> None:
    """A list of labels that lost a line, wherever it was."""
    source, published = classifier()
    names = source.contract.labels
    fewer = with_contract(published, labels=names[:place] + names[place + 1 :])
    report = parity_of(source, fewer)
    assert "labels: the source has 4 classes, the contract 3 labels: a class was dropped" in report.failures[0]
    named = parity_of(source, fewer, labels=names)
    assert f"{names[place]} of the source missing" in named.failures[0]


def test_labels_of_a_detector_are_held_against_the_ids_it_finds() -> None:
    """A detector whose last label was dropped finds an id without a name."""
    source, published = detector()
    fewer = with_contract(published, labels=("balloon",))
    report = parity_of(source, fewer)
    assert "the source finds label id 1, the contract has 1 labels" in report.failures[0]


def test_labels_that_changed_places_are_named() -> None:
    """The same names in another order are told by their first difference."""
    source, published = detector()
    swapped = with_contract(published, labels=("kite", "balloon"))
    report = parity_of(source, swapped, labels=("balloon", "kite"))
    assert "label 0 is balloon in the source and kite in the contract" in report.failures[0]


def test_an_overflow_of_float16_is_named_by_its_node() -> None:
    """One layer beyond 65504: the report names the node, and not only that probabilities are off."""
    source, published = contract_of(large(TensorProto.FLOAT), LETTERBOX, CLASSIFIER_HEAD, tuple("abcd"))
    require(parity_of(source, published))
    _, half = contract_of(large(TensorProto.FLOAT16), LETTERBOX, CLASSIFIER_HEAD, tuple("abcd"))
    report = parity_of(source, half, precision="fp16")
    with pytest.raises(BuildError, match=r"float16 overflows at node .stem/scale"):
        require(report)


CALIBRATION = ("balloons-landscape.jpg", "balloons-portrait.jpg", "fruit-square.png", "waste.jpg")
INT8 = Tolerance(pixels=0, score=0.3, iou=0.6, unmatched=2)


def quantised(side: Side, feeds: list[NDArray[np.uint8]]) -> Side:
    """The graph in INT8, its scales from `feeds`."""
    model = with_int8(onnx.load_model_from_string(side.model), [{"input": feed} for feed in feeds])
    return Side(model.SerializeToString(), side.contract)


UNFIT = {
    "black": np.zeros((1, 416, 416, 3), np.uint8),
    "grey": np.full((1, 416, 416, 3), 124, np.uint8),
}


@pytest.mark.parametrize("fed", UNFIT)
def test_int8_without_calibration_is_named_by_its_scale(fed: str) -> None:
    """Scales taken from blank images do not fit real ones: the report names the tensor and what its scale keeps."""
    source, published = balloon()
    unfit = quantised(published, [UNFIT[fed]])
    report = parity_of(source, unfit, INT8, photos(*CALIBRATION), precision="int8")
    with pytest.raises(BuildError, match=r"INT8 scale of .* keeps .*calibrate on photos like"):
        require(report)


def test_int8_with_calibration_passes() -> None:
    """The same network, its scales taken from pictures like those compared, is within the same tolerance."""
    source, published = balloon()
    preprocessor = Runner(published).preprocessor
    images = [image_from_bytes(data, max_pixels=10**8) for _, data in photos(*CALIBRATION)]
    calibrated = quantised(published, [preprocessor(image)[0][None] for image in images])
    require(parity_of(source, calibrated, INT8, photos(*CALIBRATION[:1]), precision="int8"))
