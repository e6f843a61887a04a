"""What the golden values do not show: where results are written, the way back to the photo, and refusals."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vision.contracts import classifier, detector
from tests.vision.encoded import noise
from vision.contract import (
    CenterCrop,
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
from vision.crop import crop_origin
from vision.errors import ContractError, InvalidImage
from vision.geometry import Geometry
from vision.transforms import Preprocessor

KEEP_RATIO = ResizeKeepRatio(long_edge=48, short_edge=48, rounding="mmcv", interpolation="bilinear", library="opencv")
PAD = PadToSize(size_hw=(48, 48), value=(114, 114, 114))
COLOUR = Normalise(mean=(1, 2, 3), std=(4, 5, 6))
LETTERBOX = (KEEP_RATIO, PAD)
FIT = ResizeToFit(size_hw=(48, 48), rounding="half_even", interpolation="bilinear", library="opencv")
CENTRED = PadCentred(size_hw=(48, 48), value=(114, 114, 114))


def stretch(height: int, width: int, library: Literal["opencv", "pillow"] = "opencv") -> ResizeStretch:
    return ResizeStretch(size_hw=(height, width), interpolation="bilinear", library=library)


def shorter_edge(edge: int) -> ResizeShorterEdge:
    return ResizeShorterEdge(edge=edge, rounding="floor", interpolation="bilinear", library="opencv")


CHAINS: dict[str, tuple[Step, ...]] = {
    "nothing": (),
    "resize": (stretch(30, 40),),
    "resize with pillow": (stretch(30, 40, "pillow"),),
    "letterbox": LETTERBOX,
    "centred letterbox": (FIT, CENTRED),
    "centred pad": (PadCentred(size_hw=(70, 77), value=(1, 2, 3)),),
    "central square": (CropCentralSquare(size=20, padding=4),),
    "central square, resized": (CropCentralSquare(size=20, padding=4), stretch(20, 20)),
    "letterbox with pillow": (KEEP_RATIO.model_copy(update={"library": "pillow"}), PAD),
    "pad": (PadToDivisor(divisor=32, value=(1, 2, 3)),),
    "crop": (CenterCrop(size_hw=(30, 40), rounding="floor"),),
    "rgb": (*LETTERBOX, ToRgb()),
    "rgb before padding": (KEEP_RATIO, ToRgb(), PadToSize(size_hw=(48, 48), value=(1, 2, 3))),
    "normalise": (*LETTERBOX, COLOUR),
    "rgb and normalise": (*LETTERBOX, ToRgb(), COLOUR),
    "normalise, then rgb": (*LETTERBOX, COLOUR, ToRgb()),
    "normalise, then pad": (KEEP_RATIO, COLOUR, PAD),
    "crop and normalise": (CenterCrop(size_hw=(30, 40), rounding="floor"), ToRgb(), COLOUR),
}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("chain", CHAINS)
def test_out_is_written_and_nothing_else(chain: str, layout: Literal["NHWC", "NCHW"]) -> None:
    """With `out` the same values land in that buffer, all of it; the photo is left alone; both layouts agree."""
    photo = noise(50, 60)
    before = photo.copy()
    preprocess = Preprocessor(detector(*CHAINS[chain], layout=layout))
    fresh, geometry = preprocess(photo)
    out = np.full_like(fresh, 77)
    written, same_geometry = preprocess(photo, out)
    assert written is out
    assert np.array_equal(out, fresh)
    assert geometry == same_geometry
    assert np.array_equal(photo, before)
    assert not np.shares_memory(fresh, photo)
    interleaved, _ = Preprocessor(detector(*CHAINS[chain], layout="NHWC"))(photo)
    assert np.array_equal(interleaved, fresh if layout == "NHWC" else fresh.transpose(1, 2, 0))


@pytest.mark.parametrize(("steps", "margins"), [(LETTERBOX, (0, 8)), ((FIT, CENTRED), (4, 4))])
def test_letterbox_is_resized_into_the_buffer(
    monkeypatch: pytest.MonkeyPatch, steps: tuple[Step, ...], margins: tuple[int, int]
) -> None:
    """Resize and pad make no image of their own and copy none: OpenCV writes into the caller's buffer."""
    photo = noise(50, 60)
    out = np.empty((48, 48, 3), np.uint8)
    preprocess = Preprocessor(detector(*steps, size_hw=(48, 48)))

    empty = np.empty

    def row_at_most(shape: Any, *dtype: Any) -> Any:
        assert np.prod(shape) <= 48 * 3, f"allocated {shape}"
        return empty(shape, *dtype)

    monkeypatch.setattr(np, "empty", row_at_most)
    monkeypatch.setattr(np, "copyto", lambda *_: pytest.fail("copied an image"))
    preprocess(photo, out)
    above, below = margins
    assert (out[:above] == 114).all()
    assert (out[48 - below :] == 114).all()
    assert (out[above : 48 - below] != 114).any(axis=(1, 2)).all()


@pytest.mark.parametrize("inner_hw", [(46, 46), (47, 47), (47, 46), (46, 47), (48, 47), (47, 48), (48, 48)])
@pytest.mark.parametrize("value", [(114, 114, 114), (1, 2, 3)])
def test_margins_of_a_single_pixel(inner_hw: tuple[int, int], value: tuple[float, float, float]) -> None:
    """Above, below, left and right: every margin is written however narrow, of an odd rest after the photo."""
    height, width = inner_hw
    photo, out = noise(height, width), np.full((48, 48, 3), 77, np.uint8)
    Preprocessor(detector(PadCentred(size_hw=(48, 48), value=value), size_hw=(48, 48)))(photo, out)
    expected = np.empty_like(out)
    expected[:] = value
    expected[(48 - height) // 2 :, (48 - width) // 2 :][:height, :width] = photo
    assert np.array_equal(out, expected)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((48, 47, 3), np.uint8),
        np.empty((48, 48, 3), np.float32),
        np.empty((48, 96, 3), np.uint8)[:, ::2],
    ],
    ids=["shape", "dtype", "stride"],
)
def test_a_buffer_that_does_not_fit(out: Any) -> None:
    """A wrong shape, dtype or stride of `out` is a ValueError that says what was expected."""
    with pytest.raises(ValueError, match=r"expected contiguous uint8 \[48, 48, 3\]"):
        Preprocessor(detector(*LETTERBOX))(noise(50, 60), out)


@pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3))])
def test_an_image_that_is_none(image: Any) -> None:
    """Anything but uint8 [h, w, 3] is a ValueError, not a wrong tensor."""
    with pytest.raises(ValueError, match=r"expected a uint8 image \[h, w, 3\]"):
        Preprocessor(detector(*LETTERBOX))(image)


def test_batch_is_one_buffer_of_the_single_results() -> None:
    """A batch holds what each photo gives alone, in order, with each photo's own geometry."""
    photos = [noise(50, 60), noise(60, 50), noise(10, 90)]
    preprocess = Preprocessor(detector(*LETTERBOX, size_hw=(48, 48)))
    batch, geometries = preprocess.batch(photos)
    assert batch.shape == (3, 48, 48, 3)
    for photo, row, geometry in zip(photos, batch, geometries, strict=True):
        alone, its_geometry = preprocess(photo)
        assert np.array_equal(row, alone)
        assert geometry == its_geometry


def test_batch_of_different_sizes() -> None:
    """Photos that come out in different sizes cannot share a batch, and the message lists the sizes."""
    with pytest.raises(InvalidImage, match=r"\(40, 48\), \(48, 40\)"):
        Preprocessor(detector(KEEP_RATIO)).batch([noise(50, 60), noise(60, 50)])


def test_geometry_of_a_letterbox() -> None:
    """Scale is per axis from the rounded size, and padding on the right and bottom moves nothing."""
    _, geometry = Preprocessor(detector(*LETTERBOX))(noise(50, 61))
    assert geometry == Geometry(photo_hw=(50, 61), scale_xy=(48 / 61, 39 / 50), offset_xy=(0, 0))


def test_geometry_of_a_centred_letterbox() -> None:
    """The photo begins where the margin ends, of an odd margin one pixel nearer to the top and left."""
    for photo_hw, offset_xy in (((30, 61), (0, 12)), ((61, 30), (12, 0)), ((50, 61), (0, 4))):
        _, geometry = Preprocessor(detector(FIT, CENTRED))(noise(*photo_hw))
        height, width = (round(side * 48 / 61) for side in photo_hw)
        assert geometry == Geometry(
            photo_hw=photo_hw, scale_xy=(width / photo_hw[1], height / photo_hw[0]), offset_xy=offset_xy
        )


@pytest.mark.parametrize(("rows", "half_even", "floor"), [(49, 24, 24), (51, 26, 25), (50, 25, 25)])
def test_rounding_of_what_fits(rows: int, half_even: int, floor: int) -> None:
    """Halved, 49 rows are 24.5 and 51 are 25.5: to the even number, or down."""
    assert Preprocessor(detector(FIT)).network_hw((rows, 96)) == (half_even, 48)
    assert Preprocessor(detector(FIT.model_copy(update={"rounding": "floor"}))).network_hw((rows, 96)) == (floor, 48)


def test_the_way_back_of_yolox() -> None:
    """By the scale before rounding, on both axes: 50 rows become int(39.34), and count as 39.34."""
    fit = FIT.model_copy(update={"rounding": "floor"})
    tensor, geometry = Preprocessor(detector(fit))(noise(50, 61))
    assert tensor.shape[:2] == (39, 48)
    assert geometry == Geometry(photo_hw=(50, 61), scale_xy=(48 / 61, 48 / 61), offset_xy=(0, 0))


def test_the_way_back_of_a_central_square() -> None:
    """A bright block is found where the geometry says, after crop and resize, and mapped back to its place."""
    photo = np.zeros((120, 200, 3), np.uint8)
    photo[50:70, 90:110] = 255
    tensor, geometry = Preprocessor(detector(CropCentralSquare(size=200, padding=40), stretch(200, 200)))(photo)
    rows, columns = np.nonzero(tensor[..., 0] > 127)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    assert np.array_equal(geometry.to_photo(box), [[90, 50, 110, 70]])


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 700), st.integers(1, 700))
def test_fits_and_touches(height: int, width: int, network_height: int, network_width: int) -> None:
    """Whatever the photo and the network, it fits, one side fills it, and no side vanishes."""
    fit = FIT.model_copy(update={"size_hw": (network_height, network_width)})
    got = Preprocessor(detector(fit)).network_hw((height, width))
    assert got[0] == network_height or got[1] == network_width
    assert 1 <= got[0] <= network_height
    assert 1 <= got[1] <= network_width


def test_a_photo_with_no_middle() -> None:
    """A photo so thin that mmpretrain's rounding leaves no column of its square is refused, not an empty tensor."""
    with pytest.raises(InvalidImage, match="the image is 1x101: nothing is left"):
        Preprocessor(detector(CropCentralSquare(size=240, padding=32)))(noise(101, 1))


def test_laps_name_every_step_in_order() -> None:
    """A profile is told what was done, step by step, and that steps done in one pass were; results are the same."""
    laps: list[str] = []
    preprocess = Preprocessor(detector(FIT, CENTRED, ToRgb(), COLOUR))
    measured, _ = preprocess(noise(50, 60), lap=laps.append)
    assert laps == ["ResizeToFit", "PadCentred", "ToRgb + Normalise"]
    assert np.array_equal(measured, preprocess(noise(50, 60))[0])


def test_geometry_of_a_crop() -> None:
    """A crop after a resize moves the photo's corner to the left and up by what was cut."""
    _, geometry = Preprocessor(detector(shorter_edge(40), CenterCrop(size_hw=(30, 30), rounding="floor")))(
        noise(80, 100)
    )
    assert geometry == Geometry(photo_hw=(80, 100), scale_xy=(0.5, 0.5), offset_xy=(-10, -5))


def test_the_way_back_lands_on_the_pixel() -> None:
    """A lone bright block is found, after resize and crop, where the geometry says, and mapped back to its place."""
    photo = np.zeros((200, 300, 3), np.uint8)
    photo[80:120, 100:160] = 255
    steps = shorter_edge(100), CenterCrop(size_hw=(90, 96), rounding="half_up")
    tensor, geometry = Preprocessor(detector(*steps))(photo)
    rows, columns = np.nonzero(tensor[..., 0] > 127)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    assert np.array_equal(geometry.to_photo(box), [[100, 80, 160, 120]])


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_keep_ratio_fits_and_touches(height: int, width: int) -> None:
    """Whatever the photo, the result fits the box and one side fills it, or a side would vanish and it is refused."""
    try:
        got = Preprocessor(detector(KEEP_RATIO)).network_hw((height, width))
    except InvalidImage:
        assert max(height, width) / min(height, width) > 48
    else:
        assert max(got) == 48


def test_a_photo_too_extreme_in_shape() -> None:
    """A 5000x3 photo would be scaled to no rows at all: invalid_image with both sizes."""
    with pytest.raises(InvalidImage, match="5000x3: scaled to what the model takes it would be 48x0"):
        Preprocessor(detector(*LETTERBOX))(noise(3, 5000))


def test_a_photo_smaller_than_the_crop() -> None:
    """The libraries disagree on what a crop beyond the image means, so it is refused with both sizes."""
    with pytest.raises(InvalidImage, match="crops 40x30 pixels, but the image has 50x20"):
        Preprocessor(detector(CenterCrop(size_hw=(30, 40), rounding="floor")))(noise(20, 50))


@pytest.mark.parametrize(("rounding", "first"), [("half_up", [3, 2]), ("half_even", [2, 2]), ("floor", [2, 1])])
def test_rounding_of_the_crop(rounding: Any, first: list[int]) -> None:
    """Left over 5 and 3 pixels: 2.5 and 1.5 go up, to even, or down."""
    step = CenterCrop(size_hw=(10, 10), rounding=rounding)
    assert list(crop_origin(step, (15, 13))) == first


def test_steps_that_miss_the_input_size() -> None:
    """Steps that do not end in the network's size are a contract error with both sizes, before any pixel work."""
    with pytest.raises(ContractError, match=r"takes \(48, 48\).*make \(40, 48\)"):
        Preprocessor(detector(KEEP_RATIO, size_hw=(48, 48))).network_hw((50, 60))


def test_pillow_after_normalise() -> None:
    """Pillow resizes bytes only: the order is refused when the contract is planned, not at the first photo."""
    with pytest.raises(ContractError, match="stands after normalise"):
        Preprocessor(detector(COLOUR, stretch(30, 40, "pillow")))


def test_padding_saturates_like_opencv() -> None:
    """Padding values are rounded half to even and held within 0 to 255."""
    padded, _ = Preprocessor(detector(PadToSize(size_hw=(2, 2), value=(-3, 2.5, 300))))(noise(1, 1))
    assert padded[1, 1].tolist() == [0, 2, 255]


def test_one_preprocessor_in_many_threads() -> None:
    """A preprocessor keeps nothing of a call: eight threads get what one gets."""
    preprocess = Preprocessor(classifier(*LETTERBOX, ToRgb(), COLOUR))
    photos = [noise(40 + n, 80 - n) for n in range(40)]
    alone = [preprocess(photo)[0] for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda photo: preprocess(photo)[0], photos))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
