"""`decode: fast`: fewer pixels are decoded, and boxes come back in pixels of the whole photo."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.vision.contracts import detector
from tests.vision.encoded import ORIENTATION, encoded, noise
from vision.contract import (
    CenterCrop,
    Contract,
    PadCentred,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    ResizeToFit,
    Step,
    contract_from_json,
    contract_with_decode,
)
from vision.decode import image_from_bytes
from vision.errors import ContractError, InvalidImage, TooLarge
from vision.geometry import Scaled
from vision.transforms import Preprocessor

CAP = 10_000_000
SIDE = 48
KEEP = ResizeKeepRatio(long_edge=SIDE, short_edge=SIDE, rounding="mmcv", interpolation="bilinear", library="opencv")
PAD = PadToSize(size_hw=(SIDE, SIDE), value=(0, 0, 0))
STRETCH = ResizeStretch(size_hw=(40, SIDE), interpolation="bilinear", library="opencv")
FIT = ResizeToFit(size_hw=(SIDE, SIDE), rounding="half_even", interpolation="bilinear", library="opencv")
CHAINS: dict[str, tuple[Step, ...]] = {
    "keep ratio": (KEEP, PAD),
    "stretch": (STRETCH,),
    "centred": (FIT, PadCentred(size_hw=(SIDE, SIDE), value=(0, 0, 0))),
    "yolox": (FIT.model_copy(update={"rounding": "floor"}), PAD),
    "pillow": (KEEP.model_copy(update={"library": "pillow"}), PAD),
    "crop": (
        ResizeShorterEdge(edge=44, rounding="floor", interpolation="bilinear", library="opencv"),
        CenterCrop(size_hw=(42, 42), rounding="floor"),
    ),
    "twice": (KEEP, STRETCH),
}


def fast(*steps: Step) -> Contract:
    return contract_with_decode(detector(*steps), "fast")


def blob(photo_hw: tuple[int, int], centre_xy: tuple[float, float]) -> NDArray[np.uint8]:
    """A soft bright spot on black, upright."""
    y, x = np.mgrid[: photo_hw[0], : photo_hw[1]] + 0.5
    spot = 255 * np.exp(-((x - centre_xy[0]) ** 2 + (y - centre_xy[1]) ** 2) / (2 * 25**2))
    return np.repeat(np.rint(spot).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def stored(upright: NDArray[np.uint8], orientation: int) -> bytes:
    """A JPEG that a viewer turns into `upright`."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    image = image.transpose(back[orientation]) if orientation > 1 else image
    image.getexif()[ORIENTATION] = orientation
    return encoded(image, "JPEG", quality=95, exif=image.getexif())


def centre_on_photo(
    tensor: NDArray[np.uint8], scale_xy: tuple[float, float], offset_xy: tuple[float, float]
) -> list[float]:
    """The centre of mass of what is bright, mapped back; in photo pixels."""
    weights = tensor[..., 0].astype(float)
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    centre = (weights * x).sum() / weights.sum(), (weights * y).sum() / weights.sum()
    return [(at - offset) / scale for at, offset, scale in zip(centre, offset_xy, scale_xy, strict=True)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("photo_hw", [(513, 601), (601, 513), (105, 191)], ids=["by 8", "tall, by 8", "by 2"])
def test_places_are_those_of_the_whole_photo(photo_hw: tuple[int, int], orientation: int) -> None:
    """Sides that no factor divides, all eight orientations: a spot is found where it is on the upright photo."""
    place = (photo_hw[1] * 0.5 + 3, photo_hw[0] * 0.5 - 2)
    data = stored(blob(photo_hw, place), orientation)
    preprocess = Preprocessor(fast(KEEP, PAD))
    picture = preprocess.decoded(data, max_pixels=CAP)
    assert isinstance(picture, Scaled)
    assert picture.photo_hw == photo_hw
    assert picture.factor == (2 if photo_hw == (105, 191) else 8)
    tensor, geometry = preprocess(picture)
    assert geometry.photo_hw == photo_hw
    whole, as_ever = Preprocessor(detector(KEEP, PAD))(image_from_bytes(data, max_pixels=CAP))
    expected = centre_on_photo(whole, as_ever.scale_xy, as_ever.offset_xy)
    # Left out, what is hidden beyond the border, or what it does to the scale, would be seen: it is up to 3.5 px.
    assert centre_on_photo(tensor, geometry.scale_xy, geometry.offset_xy) == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("orientation", [1, 3, 8])
@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain_that_begins_with_a_resize(chain: str, orientation: int) -> None:
    """Shape and dtype are the exact ones', and places agree, whatever steps follow."""
    data = stored(blob((513, 601), (310, 250)), orientation)
    tensor, geometry = (preprocess := Preprocessor(fast(*CHAINS[chain])))(preprocess.decoded(data, max_pixels=CAP))
    whole, as_ever = Preprocessor(detector(*CHAINS[chain]))(image_from_bytes(data, max_pixels=CAP))
    assert (tensor.shape, tensor.dtype) == (whole.shape, whole.dtype)
    expected = centre_on_photo(whole, as_ever.scale_xy, as_ever.offset_xy)
    assert centre_on_photo(tensor, geometry.scale_xy, geometry.offset_xy) == pytest.approx(expected, abs=0.6)


def test_scale_and_offset_to_the_digit() -> None:
    """601 columns by 8 are 76, which stand for 608; turned by 180 degrees the 7 that are none come first."""
    picture = Preprocessor(fast(STRETCH)).decoded(stored(blob((513, 601), (310, 250)), 3), max_pixels=CAP)
    assert isinstance(picture, Scaled)
    assert (picture.image_bgr.shape[:2], picture.hidden_xy) == ((65, 76), (7, 7))
    geometry = Preprocessor(fast(STRETCH))(picture)[1]
    assert geometry.scale_xy == pytest.approx((48 / 608, 40 / 520), rel=1e-12)
    assert geometry.offset_xy == pytest.approx((7 * 48 / 608, 7 * 40 / 520), rel=1e-12)
    box = np.array([[7 * 48 / 608, 7 * 40 / 520, 48, 40]], np.float32)
    assert geometry.to_photo(box)[0] == pytest.approx([0, 0, 601, 513], abs=1e-3)


@pytest.mark.parametrize(
    ("photo_hw", "factor"),
    [((96, 96), 1), ((97, 96), 1), ((97, 97), 2), ((192, 192), 2), ((193, 193), 4), ((385, 385), 8), ((4, 300), 2)],
)
def test_only_more_than_twice_as_large(photo_hw: tuple[int, int], factor: int) -> None:
    """The largest of 2, 4 and 8 that leaves both sides larger than what the network's resize makes of the photo."""
    preprocess = Preprocessor(fast(KEEP, PAD))
    picture = preprocess.decoded(encoded(Image.fromarray(noise(*photo_hw)), "JPEG"), max_pixels=CAP)
    assert (picture.factor if isinstance(picture, Scaled) else 1) == factor


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([KEEP, STRETCH, FIT]))
def test_never_smaller_than_the_resized_picture(height: int, width: int, resize: Step) -> None:
    """Whatever the photo's shape, nothing is scaled up that was scaled down before."""
    preprocess = Preprocessor(fast(resize))
    try:
        wanted = preprocess.network_hw((height, width))
    except InvalidImage:
        return
    data = encoded(Image.new("L", (width, height)), "JPEG", quality=50)
    picture = preprocess.decoded(data, max_pixels=CAP)
    if isinstance(picture, Scaled):
        assert all(side >= least for side, least in zip(picture.image_bgr.shape, wanted, strict=False))


def test_exact_unless_the_contract_says_fast() -> None:
    """No contract is fast by default, one from before there was the field neither: every pixel is decoded."""
    data = encoded(Image.fromarray(noise(500, 500)), "JPEG", quality=90)
    contract = detector(KEEP, PAD)
    assert contract.decode == "exact"
    text = contract.to_json().replace('"decode":"exact",', "")
    assert "decode" not in text
    for read in (contract, contract_from_json(text)):
        picture = Preprocessor(read).decoded(data, max_pixels=CAP)
        assert isinstance(picture, np.ndarray)
        assert np.array_equal(picture, np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_decoded_whole(image_format: str) -> None:
    """Only a JPEG can be decoded in part."""
    data = encoded(Image.fromarray(noise(500, 500)), image_format)
    assert isinstance(Preprocessor(fast(KEEP, PAD)).decoded(data, max_pixels=CAP), np.ndarray)


def test_what_is_unusual_is_decoded_whole() -> None:
    """CMYK, and damage that libjpeg complains of: as exact decoding has them."""
    rgb = Image.fromarray(noise(400, 400))
    damaged = bytearray(encoded(rgb, "JPEG", quality=80))
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = bytes(20)
    for data in (encoded(rgb.convert("CMYK"), "JPEG"), bytes(damaged)):
        picture = Preprocessor(fast(KEEP, PAD)).decoded(data, max_pixels=CAP)
        assert isinstance(picture, np.ndarray)
        assert np.array_equal(picture, image_from_bytes(data, max_pixels=CAP))


def test_caps_and_refusals_are_those_of_exact_decoding() -> None:
    """The cap counts the whole photo's pixels; what is cut off is refused, though half of it would do."""
    data = encoded(Image.fromarray(noise(500, 500)), "JPEG")
    preprocess = Preprocessor(fast(KEEP, PAD))
    with pytest.raises(TooLarge, match="500x500, 250,000 pixels"):
        preprocess.decoded(data, max_pixels=249_999)
    with pytest.raises(InvalidImage, match="truncated"):
        preprocess.decoded(data[: len(data) * 2 // 3], max_pixels=CAP)


@pytest.mark.parametrize("steps", [(), (PAD,), (CenterCrop(size_hw=(30, 30), rounding="floor"), STRETCH)])
def test_fast_needs_a_resize_first(steps: tuple[Step, ...]) -> None:
    """Before a crop or a pad, sizes are those of the whole photo: such a contract is refused and says why."""
    with pytest.raises(ContractError, match="decode 'fast' needs a resize as the first step"):
        fast(*steps)


def test_batches_hold_both_kinds() -> None:
    """Large photos and small ones in one batch, each with its own geometry."""
    preprocess = Preprocessor(fast(KEEP, PAD))
    sizes = [(500, 400), (50, 60)]
    photos = [encoded(Image.fromarray(noise(*hw)), "JPEG") for hw in sizes]
    batch, geometries = preprocess.batch([preprocess.decoded(data, max_pixels=CAP) for data in photos])
    assert batch.shape == (2, SIDE, SIDE, 3)
    assert [geometry.photo_hw for geometry in geometries] == sizes
