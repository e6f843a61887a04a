"""Photos, and what pretends to be one."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from tests.tiny_models import SIDE

BALLOONS = Path(__file__).parents[1] / "assets" / "balloons.jpg"

BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(width: int, height: int, colour_bgr: tuple[int, int, int] = (0, 0, 0), suffix: str = ".jpg") -> bytes:
    """A photo of one colour."""
    ok, data = cv2.imencode(suffix, np.full((height, width, 3), colour_bgr, np.uint8))
    assert ok
    return data.tobytes()


def spotted(width: int, height: int, *columns: int) -> bytes:
    """A black photo with white columns, given in network pixels."""
    image = np.zeros((height, width, 3), np.uint8)
    for column in columns:
        image[:, column * width // SIDE : (column + 1) * width // SIDE] = 255
    ok, data = cv2.imencode(".png", image)
    assert ok
    return data.tobytes()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header says so, with next to no pixels behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
