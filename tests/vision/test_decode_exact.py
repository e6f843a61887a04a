"""JPEGs decoded without OpenCV are OpenCV's, pixel by pixel, or are left to it."""

import io
import struct

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.vision.encoded import ORIENTATION, encoded, noise, quarters
from vision.decode import exact, image_from_bytes
from vision.exif import orientation_from_jpeg
from vision.turbo import pixels_from_jpeg

CAP = 10_000_000
REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
SUBSAMPLINGS = ("444", "422", "420", "440", "411", "Gray")


def by_opencv(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert image is not None
    return np.asarray(image, np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """Colours that change within a block, as photos do."""
    coarse = noise(-(-height // 6), -(-width // 6))
    return np.ascontiguousarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def turned(orientation: int, **options: object) -> bytes:
    image = Image.fromarray(smooth(45, 67))
    image.getexif()[ORIENTATION] = orientation
    return encoded(image, "JPEG", exif=image.getexif(), **options)


@pytest.mark.parametrize("hw", [(45, 67), (64, 48), (1, 1), (7, 200)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_every_subsampling(subsampling: str, hw: tuple[int, int]) -> None:
    """4:4:4 to 4:1:1 and grey, sides that end within a block: the decoder is used, and its pixels are OpenCV's."""
    picture = smooth(*hw)
    given_ = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., np.newaxis] if subsampling == "Gray" else picture
    colours = ("GRAY", "Gray") if subsampling == "Gray" else ("BGR", subsampling)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(given_), 85, *colours)
    decoded = exact(data, hw)
    assert decoded is not None
    assert np.array_equal(decoded, by_opencv(data))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_and_factor(orientation: int, progressive: bool) -> None:
    """Whole, halved, quartered and by eight, in all eight orientations, baseline and progressive: as OpenCV has it."""
    data = turned(orientation, progressive=progressive, quality=90, subsampling=2)
    assert orientation_from_jpeg(data) == orientation
    assert np.array_equal(image_from_bytes(data, max_pixels=CAP), by_opencv(data))
    for factor, flags in REDUCED.items():
        scaled = pixels_from_jpeg(data, (45, 67), orientation, factor)
        assert scaled is not None
        assert np.array_equal(scaled, by_opencv(data, flags))


def test_a_sound_jpeg_does_not_reach_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way is the one that is taken, and the picture is upright all the same."""
    data, expected = turned(6), by_opencv(turned(6))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded by OpenCV"))
    assert np.array_equal(image_from_bytes(data, max_pixels=CAP), expected)


def damaged(data: bytes) -> bytes:
    """Half of its pixels, and the end marker behind them: nothing is cut off, and libjpeg complains."""
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    return data[:middle] + b"\xff\xd9"


def adobe_cmyk() -> bytes:
    return encoded(quarters().convert("CMYK"), "JPEG")


def mpo_like() -> bytes:
    """Two pictures in one file, as phones write; the first counts."""
    return turned(3) + encoded(quarters(), "JPEG")


@pytest.mark.parametrize(
    "data",
    [damaged(encoded(Image.fromarray(smooth(64, 64)), "JPEG", quality=80)), adobe_cmyk(), mpo_like()],
    ids=["damaged", "CMYK", "two pictures"],
)
def test_unusual_files_are_what_opencv_makes_of_them(data: bytes) -> None:
    """Damage that libjpeg complains of, CMYK, and what follows the picture: the pixels are as they were before."""
    assert np.array_equal(image_from_bytes(data, max_pixels=CAP), by_opencv(data))


def test_damage_is_not_hidden() -> None:
    """A file that libjpeg complains of is decoded by OpenCV, not by the quick way that would say nothing."""
    data = damaged(encoded(Image.fromarray(smooth(64, 64)), "JPEG", quality=80))
    assert orientation_from_jpeg(data) == 1
    assert exact(data, (64, 64)) is None


def app1(payload: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


def exif(entries: list[tuple[int, int, int, int]], order: str = "<") -> bytes:
    """A payload of one directory; an entry is tag, type, count and the four bytes of its value."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    rows = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in entries
    )
    return b"Exif\0\0" + head + struct.pack(f"{order}IH", 8, len(entries)) + rows + bytes(4)


XMP = b"http://ns.adobe.com/xap/1.0/\0<x/>"
PLAIN = encoded(Image.fromarray(smooth(20, 30)), "JPEG")


def with_segments(*payloads: bytes) -> bytes:
    return PLAIN[:2] + b"".join(map(app1, payloads)) + PLAIN[2:]


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        ((), 1),
        ((exif([(ORIENTATION, 3, 1, 6)]),), 6),
        ((exif([(ORIENTATION, 3, 1, 8)], ">"),), 8),
        ((exif([(0x0100, 4, 1, 30), (ORIENTATION, 3, 1, 3)]), XMP), 3),
        ((XMP,), 1),
        ((exif([]),), 1),
        ((XMP, exif([(ORIENTATION, 3, 1, 6)])), None),
        ((exif([(ORIENTATION, 3, 1, 6)]), exif([(ORIENTATION, 3, 1, 3)])), None),
        ((exif([(ORIENTATION, 3, 1, 9)]),), None),
        ((exif([(ORIENTATION, 3, 1, 0)]),), None),
        ((exif([(ORIENTATION, 4, 1, 6)]),), None),
        ((exif([(ORIENTATION, 3, 1, 6), (ORIENTATION, 3, 1, 3)]),), None),
        ((exif([(0x010E, 2, 9999, 8), (ORIENTATION, 3, 1, 6)]),), None),
        ((b"Exif\0\0XX*\0\x08\0\0\0\0\0",), None),
        ((exif([(ORIENTATION, 3, 1, 6)])[:-9],), None),
    ],
)
def test_orientation_is_said_or_left_to_opencv(payloads: tuple[bytes, ...], expected: int | None) -> None:
    """What is plain is read; whatever is not is nobody's guess. Either way the picture is as OpenCV turns it."""
    data = with_segments(*payloads)
    assert orientation_from_jpeg(data) == expected
    assert np.array_equal(image_from_bytes(data, max_pixels=CAP), by_opencv(data))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.sampled_from("<>"))
def test_no_exif_is_turned_otherwise_than_by_opencv(flips: list[tuple[int, int]], order: str) -> None:
    """Bytes changed anywhere in the EXIF and before the pixels: an orientation that is said is OpenCV's."""
    data = bytearray(with_segments(exif([(0x010F, 2, 3, 0), (ORIENTATION, 3, 1, 6), (0x0128, 3, 1, 2)], order)))
    for at, value in flips:
        data[2 + at % 70] = value
    orientation = orientation_from_jpeg(bytes(data))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if orientation is None or image is None:
        return
    decoded = pixels_from_jpeg(bytes(data), (20, 30), orientation)
    assert decoded is None or np.array_equal(decoded, image)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(tail: bytes) -> None:
    """Whatever follows the first marker, there is an orientation or none."""
    assert orientation_from_jpeg(b"\xff\xd8" + tail) in {None, *range(1, 9)}


def test_arithmetic_and_lossless_are_left_alone() -> None:
    """Kinds that OpenCV's libjpeg may read otherwise, or not at all, are for it to judge."""
    at = PLAIN.index(b"\xff\xc0")
    for marker in (0xC3, 0xC9, 0xCA):
        assert orientation_from_jpeg(PLAIN[: at + 1] + bytes([marker]) + PLAIN[at + 2 :]) is None
    twelve_bits = PLAIN[: at + 4] + b"\x0c" + PLAIN[at + 5 :]
    assert orientation_from_jpeg(twelve_bits) is None


def test_pillow_reads_the_same() -> None:
    """Recipes trained on Pillow's pixels get them: of a JPEG they are OpenCV's (both are libjpeg-turbo's)."""
    data = turned(1, quality=90, subsampling=2)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)))[..., ::-1], image_from_bytes(data, max_pixels=CAP))
