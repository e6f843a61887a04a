"""Every kind of image becomes 8-bit BGR, upright; everything else a clear error before or after decoding."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.vision.encoded import ORIENTATION, bgr_from_pillow, encoded, noise, quarters
from tests.vision.test_header import core_bmp, info_bmp
from vision.decode import image_from_bytes
from vision.errors import InvalidImage, TooLarge, UnsupportedMediaType, WireError

CAP = 10_000_000

KINDS = {
    "grey png": (quarters().convert("L"), "PNG"),
    "grey and alpha png": (quarters().convert("LA"), "PNG"),
    "rgba png": (quarters().convert("RGBA"), "PNG"),
    "palette png": (quarters().convert("P"), "PNG"),
    "one bit png": (quarters().convert("1"), "PNG"),
    "rgb png": (quarters(), "PNG"),
    "grey jpeg": (quarters().convert("L"), "JPEG"),
    "cmyk jpeg": (quarters().convert("CMYK"), "JPEG"),
    "rgb jpeg": (quarters(), "JPEG"),
    "rgb webp": (quarters(), "WEBP"),
    "rgba webp": (quarters().convert("RGBA"), "WEBP"),
    "grey bmp": (quarters().convert("L"), "BMP"),
    "palette bmp": (quarters().convert("P"), "BMP"),
    "one bit bmp": (quarters().convert("1"), "BMP"),
    "rgb bmp": (quarters(), "BMP"),
    "rgba bmp": (quarters().convert("RGBA"), "BMP"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_bgr(kind: str) -> None:
    """Grey, alpha, palettes, one bit and CMYK come out as uint8 [h, w, 3] BGR, equal to Pillow's within 3 levels."""
    image, image_format = KINDS[kind]
    pixels = image_from_bytes(encoded(image, image_format), max_pixels=CAP)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (40, 60, 3)
    assert np.abs(bgr_from_pillow(image) - pixels).max() <= 3


def test_alpha_is_dropped_not_blended() -> None:
    """A transparent red pixel stays red, as OpenCV and mmcv read it; nothing is put behind it."""
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (image_from_bytes(encoded(image, "PNG"), max_pixels=CAP) == (0, 0, 255)).all()


def test_sixteen_bits_keep_the_upper_eight() -> None:
    """16-bit grey becomes value // 256."""
    values = np.arange(0, 65536, 27, dtype=np.uint16)[:2400].reshape(40, 60)
    pixels = image_from_bytes(encoded(Image.fromarray(values), "PNG"), max_pixels=CAP)
    assert np.array_equal(pixels[..., 0], values >> 8)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(image_format: str, orientation: int) -> None:
    """All eight orientations come out upright from each format that carries EXIF, as Pillow's exif_transpose has it."""
    image = quarters()
    image.getexif()[ORIENTATION] = orientation
    pixels = image_from_bytes(encoded(image, image_format, exif=image.getexif()), max_pixels=CAP)
    expected = bgr_from_pillow(image)
    assert pixels.shape == expected.shape
    assert np.abs(expected - pixels).max() <= 3


@pytest.mark.parametrize("data", [core_bmp(7, 5), info_bmp(7, 5), info_bmp(7, -5)])
def test_old_and_top_down_bmp(data: bytes) -> None:
    """The 12-byte header and negative heights are decoded, not only measured."""
    assert image_from_bytes(data, max_pixels=CAP).shape == (5, 7, 3)


def test_pixel_cap_names_both_numbers() -> None:
    """More pixels than the cap is too_large, and the message says how many there were and how many may be."""
    with pytest.raises(TooLarge, match=r"60x40, 2,400 pixels.*2,399"):
        image_from_bytes(encoded(quarters(), "PNG"), max_pixels=2399)
    assert image_from_bytes(encoded(quarters(), "PNG"), max_pixels=2400).shape == (40, 60, 3)


def test_the_cap_comes_before_everything_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 50,000x50,000 header is too_large at once, though no pixels follow it: nothing is decoded or allocated."""

    def decoder(*_: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(cv2, "imdecode", decoder)
    data = encoded(quarters(), "PNG")
    with pytest.raises(TooLarge, match="50000x50000"):
        image_from_bytes(data[:16] + struct.pack(">II", 50_000, 50_000) + data[24:], max_pixels=50_000_000)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP"])
def test_truncated_is_refused_not_half_grey(image_format: str) -> None:
    """OpenCV fills what is missing of a JPEG with grey; here it is invalid_image."""
    data = encoded(Image.fromarray(noise(64, 64)), image_format)
    with pytest.raises(InvalidImage, match="truncated"):
        image_from_bytes(data[: len(data) * 2 // 3], max_pixels=CAP)


def test_damaged_pixels() -> None:
    """A sound header before garbage is invalid_image that says so, not an exception of OpenCV's."""
    data = bytearray(encoded(Image.fromarray(noise(64, 64)), "PNG"))
    at = data.index(b"IDAT")
    data[at + 4 : at + 40] = bytes(36)
    with pytest.raises(InvalidImage, match="cannot be decoded"):
        image_from_bytes(bytes(data), max_pixels=CAP)


@pytest.mark.parametrize("answer", [None, cv2.error("out of memory"), np.zeros((3, 5, 3), np.uint8)])
def test_what_opencv_may_answer(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, an exception, or a size other than the header's from OpenCV is invalid_image."""

    def imdecode(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(cv2, "imdecode", imdecode)
    with pytest.raises(InvalidImage, match=r"cannot be decoded|the header says 60x40"):
        image_from_bytes(encoded(quarters(), "PNG"), max_pixels=CAP)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"", InvalidImage), (b"hello", InvalidImage), (encoded(quarters(), "GIF"), UnsupportedMediaType)],
)
def test_no_image(data: bytes, error: type[WireError]) -> None:
    """What the header reader refuses is refused here."""
    with pytest.raises(error):
        image_from_bytes(data, max_pixels=CAP)
