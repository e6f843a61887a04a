"""What an image's header says, read without decoding a pixel.

Formats are recognised by their first bytes, never by a name or a content type. Layouts: JPEG ITU-T T.81 annex B,
PNG third edition, RFC 9649 (WebP), the Windows BITMAPCOREHEADER and BITMAPINFOHEADER.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vision.errors import InvalidImage, UnsupportedMediaType

Format = Literal["jpeg", "png", "webp", "bmp"]

SERVED = "JPEG, PNG, WebP or BMP"


@dataclass(frozen=True, slots=True)
class Header:
    """Format and size as stored: `width` and `height` in pixels before any EXIF orientation."""

    format: Format
    width: int
    height: int


def header_from_bytes(data: bytes) -> Header:
    """Read format and size from the first bytes of one whole, still image.

    Raises:
        InvalidImage: empty, no image, broken off inside the header, or without any pixels.
        UnsupportedMediaType: a recognised format that is not served, or an animation.
    """
    if not data:
        raise InvalidImage(f"no image: the body is empty. Send the bytes of one {SERVED}")
    image_format = _format_from_magic(data)
    try:
        width, height = _SIZES[image_format](data)
    except (struct.error, IndexError) as exc:
        raise truncated(image_format, len(data), "inside its header") from exc
    if width <= 0 or height <= 0:
        raise InvalidImage(f"the {_NAMES[image_format]} header says {width}x{height} pixels, which is no picture")
    return Header(image_format, width, height)


def require_complete(data: bytes, header: Header) -> None:
    """Check that the image runs to its end; bytes after the end are allowed.

    Raises:
        InvalidImage: if the data break off early.
    """
    try:
        complete = _COMPLETE[header.format](data)
    except (struct.error, IndexError):
        complete = False
    if not complete:
        raise truncated(header.format, len(data), f"before the end of its {header.width}x{header.height} pixels")


def truncated(image_format: Format, size_bytes: int, where: str) -> InvalidImage:
    return InvalidImage(
        f"the {_NAMES[image_format]} is truncated: its {size_bytes} bytes end {where}. Was the upload cut short?"
    )


def _format_from_magic(data: bytes) -> Format:
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == _PNG_SIGNATURE:
        return "png"
    if data[:4] == b"RIFF" and b"WEBP".startswith(data[8:12]):
        return "webp"
    if data[:2] == b"BM" and (len(data) < 18 or _u32(data, 14) in _BMP_HEADERS):
        return "bmp"
    for magic, offset, name in _NOT_SERVED:
        if data[offset : offset + len(magic)] == magic:
            raise UnsupportedMediaType(f"this is {name}; expected {SERVED}. Convert it before sending")
    if any(whole.startswith(data) for whole in (b"\xff\xd8\xff", _PNG_SIGNATURE, b"RIFF", b"BM")):
        raise InvalidImage(f"truncated: only {len(data)} bytes came, not even a header. Was the upload cut short?")
    raise InvalidImage(f"not an image: it starts with {data[:12]!r}; expected {SERVED}")


_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "bmp": "BMP"}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOT_SERVED = (
    (b"GIF8", 0, "a GIF"),
    (b"II*\0", 0, "a TIFF (or a camera's raw file)"),
    (b"MM\0*", 0, "a TIFF"),
    (b"ftypheic", 4, "a HEIC"),
    (b"ftypheix", 4, "a HEIC"),
    (b"ftypmif1", 4, "a HEIF"),
    (b"ftypavif", 4, "an AVIF"),
    (b"ftypavis", 4, "an animated AVIF"),
    (b"ftyp", 4, "an MP4, HEIF or other ISO media file"),
    (b"\0\0\0\x0cjP  ", 0, "a JPEG 2000"),
    (b"\0\0\0\x0cJXL ", 0, "a JPEG XL"),
    (b"\xff\x0a", 0, "a JPEG XL"),
    (b"8BPS", 0, "a Photoshop document"),
    (b"%PDF", 0, "a PDF"),
    (b"<svg", 0, "an SVG"),
)


# ---- JPEG

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
_MAX_JPEG_SEGMENTS = 10_000
"""Profiles and metadata take hundreds at most; a bound on the time spent on hostile files."""


def _jpeg_marker(data: bytes, wanted: frozenset[int]) -> int:
    """Where the first marker out of `wanted` stands: the position of its second byte."""
    at = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        if data[at] != 0xFF or data[at + 1] == 0xFF:
            # Stray and fill bytes between segments: libjpeg skips them too.
            at = data.find(b"\xff", at + 1)
            if at < 0:
                raise IndexError
            continue
        marker = data[at + 1]
        if marker in wanted:
            return at + 1
        if marker in (0xD9, 0xDA):
            raise InvalidImage("not a valid JPEG: its pixels begin before its size was given. Save it again")
        at += 2 if marker in _STANDALONE else 2 + max(2, _u16_be(data, at + 2))
    raise InvalidImage(f"the JPEG has more than {_MAX_JPEG_SEGMENTS} segments before its pixels. Save it again")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    height, width = struct.unpack_from(">HH", data, _jpeg_marker(data, _SOF) + 4)
    return width, height


def _jpeg_complete(data: bytes) -> bool:
    # In entropy-coded data 0xFF is followed by 0x00 or a restart marker, so FF D9 after the first scan is the end.
    # Looked for from the back, where it stands: from the front it took a twelfth of the decoding.
    return data.rfind(b"\xff\xd9", _jpeg_marker(data, frozenset({0xDA}))) >= 0


# ---- PNG

_MAX_PNG_CHUNKS = 100_000
"""libpng writes 8 KiB a chunk: enough for 800 MB, and a bound on the time spent on hostile files."""


def _png_size(data: bytes) -> tuple[int, int]:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise InvalidImage(f"not a valid PNG: its first chunk is {kind!r} of {length} bytes, expected b'IHDR' of 13")
    if _png_chunk(data, (b"acTL", b"IDAT")) == b"acTL":
        raise UnsupportedMediaType(f"this is an animated PNG; expected one still {SERVED}")
    return width, height


def _png_complete(data: bytes) -> bool:
    return _png_chunk(data, (b"IEND",)) == b"IEND"


def _png_chunk(data: bytes, wanted: tuple[bytes, ...]) -> bytes:
    """The first chunk kind out of `wanted` in `data`'s chunk list, or b"" if the data end before one."""
    at = 8
    for _ in range(_MAX_PNG_CHUNKS):
        if at + 12 > len(data):
            return b""
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in wanted:
            return bytes(kind)
        at += 12 + length
    raise InvalidImage(f"the PNG has more than {_MAX_PNG_CHUNKS} chunks. Save it again")


# ---- WebP


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 0x02:
            raise UnsupportedMediaType(f"this is an animated WebP; expected one still {SERVED}")
        return 1 + _u24(data, 24), 1 + _u24(data, 27)
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature != 0x2F:
            raise InvalidImage(f"not a valid WebP: VP8L starts with {signature:#04x}, expected 0x2f")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        start, width, height = struct.unpack_from("<3sHH", data, 23)
        if start != b"\x9d\x01\x2a":
            raise InvalidImage(f"not a valid WebP: VP8 start code {start!r}, expected b'\\x9d\\x01*'")
        return width & 0x3FFF, height & 0x3FFF
    if len(kind) < 4:
        raise IndexError
    raise InvalidImage(f"not a valid WebP: its first chunk is {kind!r}, expected VP8, VP8L or VP8X")


def _webp_complete(data: bytes) -> bool:
    return 8 + int(struct.unpack_from("<I", data, 4)[0]) <= len(data)


# ---- BMP


_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
"""Header sizes in bytes; 12 is BITMAPCOREHEADER, the others begin like BITMAPINFOHEADER."""


def _bmp_size(data: bytes) -> tuple[int, int]:
    if _u32(data, 14) == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height = struct.unpack_from("<ii", data, 18)
    # A negative height says that the top row comes first.
    return width, abs(height)


def _bmp_complete(data: bytes) -> bool:
    width, height = _bmp_size(data)
    pixels = _u32(data, 10)
    core = _u32(data, 14) == 12
    bits = struct.unpack_from("<H", data, 24 if core else 28)[0]
    compressed = not core and _u32(data, 30) not in (0, 3, 6)
    return pixels + (1 if compressed else (width * bits + 31) // 32 * 4 * height) <= len(data)


def _u16_be(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


def _u24(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


_SIZES: dict[Format, Callable[[bytes], tuple[int, int]]] = {
    "jpeg": _jpeg_size,
    "png": _png_size,
    "webp": _webp_size,
    "bmp": _bmp_size,
}
_COMPLETE: dict[Format, Callable[[bytes], bool]] = {
    "jpeg": _jpeg_complete,
    "png": _png_complete,
    "webp": _webp_complete,
    "bmp": _bmp_complete,
}
