"""Headers are read by hand: they must agree with Pillow, and survive any bytes."""

import struct
import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tests.vision.encoded import encoded, quarters
from vision.errors import InvalidImage, UnsupportedMediaType
from vision.header import Header, header_from_bytes, require_complete

STILLS = {
    "jpeg": encoded(quarters(61, 43), "JPEG"),
    "progressive jpeg": encoded(quarters(61, 43), "JPEG", progressive=True),
    "jpeg with metadata": encoded(quarters(61, 43), "JPEG", exif=b"Exif\0\0" + bytes(9000), icc_profile=bytes(70_000)),
    "png": encoded(quarters(61, 43), "PNG"),
    "webp lossy": encoded(quarters(61, 43), "WEBP", lossless=False),
    "webp lossless": encoded(quarters(61, 43), "WEBP"),
    "webp extended": encoded(quarters(61, 43), "WEBP", lossless=False, exif=b"Exif\0\0" + bytes(100)),
    "bmp": encoded(quarters(61, 43), "BMP"),
    "bmp palette": encoded(quarters(61, 43).convert("P"), "BMP"),
}


def core_bmp(width: int, height: int) -> bytes:
    """An OS/2 bitmap with the 12-byte header, 24 bits, black."""
    pixels = bytes((width * 3 + 3) // 4 * 4 * height)
    head = struct.pack("<2sIHHIIHHHH", b"BM", 26 + len(pixels), 0, 0, 26, 12, width, height, 1, 24)
    return head + pixels


def info_bmp(width: int, height: int) -> bytes:
    """A Windows bitmap, 24 bits, black; a negative height is top-down."""
    pixels = bytes((abs(width) * 3 + 3) // 4 * 4 * abs(height))
    head = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0) + pixels


@pytest.mark.parametrize("data", STILLS.values(), ids=STILLS)
def test_size_and_format_without_decoding(data: bytes) -> None:
    """Every served format gives its size from the header, and is known to be whole."""
    header = header_from_bytes(data)
    assert (header.width, header.height) == (61, 43)
    require_complete(data, header)


@pytest.mark.parametrize("data", STILLS.values(), ids=STILLS)
def test_every_cut_is_noticed(data: bytes) -> None:
    """However short an upload is cut, it is invalid_image and the message says that it is truncated or empty."""
    for end in {*range(64), *range(64, len(data), max(1, len(data) // 200)), len(data) - 1} - {len(data)}:
        with pytest.raises(InvalidImage, match=r"truncated|empty"):
            require_complete(data[:end], header_from_bytes(data[:end]))


@pytest.mark.parametrize("data", STILLS.values(), ids=STILLS)
def test_bytes_after_the_end_are_allowed(data: bytes) -> None:
    """Cameras append previews and films: what follows the image is not looked at."""
    require_complete(data + b"trailer", header_from_bytes(data + b"trailer"))


@pytest.mark.parametrize(
    ("data", "size"), [(core_bmp(7, 5), (7, 5)), (info_bmp(7, 5), (7, 5)), (info_bmp(7, -5), (7, 5))]
)
def test_kinds_of_bmp(data: bytes, size: tuple[int, int]) -> None:
    """The old 12-byte header is read, and a negative height means top-down, not an error."""
    header = header_from_bytes(data)
    assert (header.width, header.height) == size
    require_complete(data, header)


def test_size_beyond_any_memory_is_just_a_size() -> None:
    """A 50,000x50,000 header costs nothing to read: the pixel cap can refuse it before any decoding."""
    data = bytearray(STILLS["png"])
    data[16:24] = struct.pack(">II", 50_000, 50_000)
    assert header_from_bytes(bytes(data)) == Header("png", 50_000, 50_000)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("kind", ["png", "bmp", "jpeg"])
def test_no_pixels(kind: str, size: tuple[int, int]) -> None:
    """A side of zero is invalid_image, and the message gives the size found."""
    width, height = size
    if kind == "bmp":
        data = info_bmp(width, height)
    else:
        changed = bytearray(STILLS[kind])
        if kind == "png":
            changed[16:24] = struct.pack(">II", width, height)
        else:
            at = changed.index(b"\xff\xc0") + 5
            changed[at : at + 4] = struct.pack(">HH", height, width)
        data = bytes(changed)
    with pytest.raises(InvalidImage, match=f"{width}x{height}"):
        header_from_bytes(data)


def test_negative_width() -> None:
    """A negative width means nothing in BMP."""
    with pytest.raises(InvalidImage, match="-7x5"):
        header_from_bytes(info_bmp(-7, 5))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_animations_are_refused(image_format: str) -> None:
    """One photo in, one result out: an animation is unsupported_media_type, not its first frame in silence."""
    other = Image.new("RGB", (60, 40), "white")
    data = encoded(quarters(), image_format, save_all=True, append_images=[other], duration=100)
    with pytest.raises(UnsupportedMediaType, match="animated"):
        header_from_bytes(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encoded(quarters(), "GIF"), "GIF"),
        (encoded(quarters(), "TIFF"), "TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (encoded(quarters(), "AVIF"), "AVIF"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_other_formats_are_named(data: bytes, name: str) -> None:
    """A recognised format that is not served is unsupported_media_type, by its name, with what to send instead."""
    with pytest.raises(UnsupportedMediaType, match=f"{name}.*JPEG, PNG, WebP or BMP"):
        header_from_bytes(data)


@pytest.mark.parametrize("data", [b"hello, world, this is text", b"BMW is not a bitmap at all", b"{}", b"RIFFxxxxWAVE"])
def test_text_is_no_image(data: bytes) -> None:
    """Anything else is invalid_image, and the message shows how it starts."""
    with pytest.raises(InvalidImage, match="not an image: it starts with"):
        header_from_bytes(data)


def test_empty() -> None:
    """An empty body has a message of its own."""
    with pytest.raises(InvalidImage, match="empty"):
        header_from_bytes(b"")


MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"RIFF\x20\0\0\0WEBPVP8", b"BM\0\0\0\0\0\0\0\0")


@given(st.sampled_from([b"", *MAGICS]), st.binary(max_size=300))
@example(b"\xff\xd8\xff", b"\xff" * 50)
@example(b"\xff\xd8\xff", b"\xc0\x00")
@example(b"", b"\x89PNG\r\n\x1a\n")
def test_any_bytes_end_in_a_header_or_a_wire_error(magic: bytes, rest: bytes) -> None:
    """Nothing but our own request errors comes out, whatever goes in."""
    data = magic + rest
    with suppress(InvalidImage, UnsupportedMediaType):
        require_complete(data, header_from_bytes(data))


@given(st.sampled_from(sorted(STILLS)), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_damaged_headers_end_in_a_header_or_a_wire_error(name: str, changes: list[tuple[int, int]]) -> None:
    """The same for real images with a few bytes of their first 200 overwritten."""
    data = bytearray(STILLS[name])
    for at, value in changes:
        data[min(at, len(data) - 1)] = value
    with suppress(InvalidImage, UnsupportedMediaType):
        require_complete(bytes(data), header_from_bytes(bytes(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"\xe0\x00\x02\xff" * 5_000_000,
        b"\xff\xd8\xff" + b"\xff" * 20_000_000,
        STILLS["png"][:33] + b"\0\0\0\0tEXt\0\0\0\0" * 1_700_000,
    ],
    ids=["jpeg segments", "jpeg fill bytes", "png chunks"],
)
def test_hostile_files_take_no_time(data: bytes) -> None:
    """20 MB made of empty segments is refused within the time of an ordinary decode, of the processor's."""
    start = time.thread_time()
    with pytest.raises(InvalidImage):
        require_complete(data, header_from_bytes(data))
    assert time.thread_time() - start < 0.25
