"""Which way up a JPEG is, where that can be said without doubt: ITU-T T.81 annex B, CIPA DC-008 (Exif) 4.6.

OpenCV applies the orientation itself when it decodes. Who decodes with something else must know it, and must come to
the same; so whatever is unusual here is nobody's guess, but left to OpenCV.
"""

import struct

_SOF_PLAIN = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive, Huffman-coded; not lossless, hierarchical or arithmetic."""
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP1, _SOS = 0xE1, 0xDA
_ORIENTATION, _SHORT = 0x0112, 3
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
MAX_SEGMENTS = 200
"""More than a camera writes: a colour profile of a megabyte takes 16."""

TURNED = frozenset({5, 6, 7, 8})
"""Orientations that swap width and height."""


def orientation_from_jpeg(data: bytes) -> int | None:
    """The EXIF orientation, 1 to 8, of an 8-bit grey or colour JPEG of a common kind; 1 where it carries none.

    None where the file is of another kind or in any way irregular: its segments, its EXIF, or more than one of these.
    """
    try:
        return _orientation(data)
    except (struct.error, IndexError):
        return None


def _orientation(data: bytes) -> int | None:
    at, frames, orientation = 2, 0, 1
    app1_seen = False
    for _ in range(MAX_SEGMENTS):
        if data[at] != 0xFF or data[at + 1] < 0xC0 or 0xD0 <= data[at + 1] <= 0xD9:
            return None
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if length < 2:
            return None
        if marker == _SOS:
            return orientation if frames == 1 else None
        if marker in _SOF:
            if marker not in _SOF_PLAIN or data[at + 4] != 8 or data[at + 9] not in (1, 3):
                return None
            frames += 1
        elif marker == _APP1:
            # OpenCV reads the first APP1 and no other: EXIF after XMP, or twice, is for it to judge.
            is_exif = data[at + 4 : at + 8] == b"Exif"
            told = _from_app1(data[at + 4 : at + 2 + length]) if is_exif else orientation
            if told is None or (is_exif and app1_seen):
                return None
            orientation, app1_seen = told, True
        at += 2 + length
    return None


def _from_app1(segment: bytes) -> int | None:
    """Of the first image file directory; 1 where it says nothing."""
    if segment[:6] != b"Exif\0\0":
        return None
    tiff = segment[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    found: list[int] = []
    for entry in range(count):
        tag, kind, items, where = struct.unpack_from(f"{order}HHII", tiff, start + 2 + 12 * entry)
        size = _BYTES_OF_TYPE.get(kind, len(tiff)) * items
        if size > 4 and where + size > len(tiff):
            return None
        if tag == _ORIENTATION:
            if (kind, items) != (_SHORT, 1):
                return None
            found += struct.unpack_from(f"{order}H", tiff, start + 2 + 12 * entry + 8)
    if not found:
        return 1
    return found[0] if len(found) == 1 and 1 <= found[0] <= 8 else None
