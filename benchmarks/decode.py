"""JPEG decoders side by side at 0.3, 1, 2 and 12 megapixels: how long they take, and whether they agree to the pixel.

    .venv/dev/bin/python -m benchmarks.decode --out benchmarks/results/decode-CONDITIONS.json

One core, one run. The photo is drawn here from seeded noise at several scales, so that its blocks hold detail as a
camera's do, and encoded at quality 90 in 4:2:0. Decoders take turns in a shuffled order; `least` is the quickest turn,
which a busy machine disturbs least; nvImageCodec is measured where it is installed, on its CPU backend.

`same_pixels_as_opencv` holds every decoder against `cv2.imdecode`, which is what mmcv trains with, and the scaled ones
against its own reduced decoding: of how many photos, and of how many the pixels are the same. Photos are the drawn ones
and one of odd size in every subsampling, grey and progressive, each in all eight EXIF orientations; and every JPEG of
the data sets ($JETSERVE_DATA, or --data).
"""

import argparse
import io
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks import record
from builder.recipes.photos import data_root
from gateway.decoder import DecoderError, NvImageCodec
from gateway.memory import keep_freed_memory
from vision.decode import image_from_bytes
from vision.errors import RequestError
from vision.exif import orientation_from_jpeg
from vision.turbo import pixels_from_jpeg

SIZES_HW = {"0.3": (480, 640), "1": (864, 1152), "2": (1224, 1632), "12": (3000, 4000)}
QUALITY = 90
MAX_PIXELS = 100_000_000
WARM_UP = 3
ORIENTATION = 0x0112
TURN_NOTHING = ("OpenCV", "simplejpeg", "simplejpeg, one buffer", "Pillow")
ODD_HW = (473, 631)
SUBSAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}

Decoder = Callable[[bytes], NDArray[Any]]


def picture(hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Soft shapes, edges and grain."""
    rng = np.random.default_rng(0)
    height, width = hw
    image = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((6, 90.0), (40, 45.0), (160, 25.0)):
        coarse = rng.uniform(-1, 1, (cells * 3 // 4, cells, 3)).astype(np.float32)
        image += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image += 128 + rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def jpeg(image: NDArray[np.uint8], *more: int) -> bytes:
    """`more` are OpenCV's flags, each with its value."""
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *more])
    assert ok
    return data.tobytes()


def kinds(image: NDArray[np.uint8]) -> dict[str, bytes]:
    """The same picture as a JPEG of every common kind."""
    found = {"grey": jpeg(image[..., 1]), "grey, progressive": jpeg(image[..., 1], cv2.IMWRITE_JPEG_PROGRESSIVE, 1)}
    for name, factor in SUBSAMPLINGS.items():
        flags = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, int(factor)
        found[name] = jpeg(image, *flags)
        found[f"{name}, progressive"] = jpeg(image, *flags, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    return found


def by_opencv(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert image is not None
    return image


def by_pillow(data: bytes, *, upright: bool = False) -> NDArray[Any]:
    image = Image.open(io.BytesIO(data))
    return np.asarray((ImageOps.exif_transpose(image) if upright else image).convert("RGB"))


def whole() -> dict[str, Decoder]:
    """Every decoder, all pixels."""
    buffers: dict[int, NDArray[np.uint8]] = {}

    def reusing(data: bytes) -> NDArray[Any]:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        buffer = buffers.setdefault(height * width, np.empty((height, width, 3), np.uint8))
        return np.asarray(simplejpeg.decode_jpeg(data, "BGR", buffer=buffer))

    decoders: dict[str, Decoder] = {
        "OpenCV": by_opencv,
        "simplejpeg": lambda data: simplejpeg.decode_jpeg(data, "BGR"),
        "simplejpeg, one buffer": reusing,
        "Pillow": by_pillow,
        "ours": lambda data: image_from_bytes(data, max_pixels=MAX_PIXELS),
    }
    try:
        codec = NvImageCodec(cpu_only=True)
        decoders["nvImageCodec, CPU"] = lambda data: np.asarray(codec(data, (0, 0)))
    except DecoderError as exc:
        print(f"nvImageCodec is left out: {exc}")
    return decoders


def scaled(hw: tuple[int, int]) -> dict[str, Decoder]:
    """Fewer pixels by both that can."""

    def by_simplejpeg(factor: int) -> Decoder:
        height, width = (-(-side // factor) for side in hw)
        return lambda data: simplejpeg.decode_jpeg(data, "BGR", min_height=height, min_width=width, min_factor=factor)

    def reduced(factor: int) -> Decoder:
        return lambda data: by_opencv(data, REDUCED[factor])

    return {
        f"{name} 1/{k}": of(k) for k in REDUCED for name, of in (("OpenCV", reduced), ("simplejpeg", by_simplejpeg))
    }


def measured(data: bytes, decoders: dict[str, Decoder], iterations: int) -> dict[str, list[float]]:
    """Seconds of each decoder in each turn; what it made is let go within its time, as serving does."""
    seconds: dict[str, list[float]] = {name: [] for name in decoders}
    order = random.Random(0)  # noqa: S311  # an order, not a secret
    for _ in range(WARM_UP + iterations):
        for name in order.sample(list(decoders), len(decoders)):
            start = time.perf_counter()
            image = decoders[name](data)
            del image
            seconds[name].append(time.perf_counter() - start)
    return {name: values[WARM_UP:] for name, values in seconds.items()}


def agreement(photos: Iterator[tuple[str, bytes]], decoders: dict[str, Decoder]) -> dict[str, dict[str, Any]]:
    """By set: how many photos, how many of them `ours` leaves to OpenCV, and of how many each decoder's are OpenCV's.

    Pixels are compared upright: simplejpeg and Pillow turn nothing by themselves, and are told by EXIF how. A decoder
    that does not read a photo does not have OpenCV's pixels.
    """
    asked: dict[str, Callable[[bytes], NDArray[Any] | None]] = {
        **{name: decode for name, decode in decoders.items() if name not in TURN_NOTHING},
        "simplejpeg": _upright,
        "Pillow": lambda data: by_pillow(data, upright=True)[..., ::-1],
    }
    for factor in REDUCED:
        asked[f"simplejpeg 1/{factor}"] = partial(_upright, factor=factor)
    counts: dict[str, dict[str, Any]] = {}
    for folder, data in photos:
        here = counts.setdefault(folder, {"photos": 0, "left_to_opencv": 0, "same": defaultdict(int)})
        here["photos"] += 1
        here["left_to_opencv"] += _upright(data) is None
        expected = {factor: by_opencv(data, flags) for factor, flags in {1: cv2.IMREAD_COLOR, **REDUCED}.items()}
        for name, decode in asked.items():
            factor = int(name.partition(" 1/")[2] or 1)
            here["same"][name] += _same(decode, data, expected[factor])
    return counts


def _upright(data: bytes, factor: int = 1) -> NDArray[np.uint8] | None:
    """By simplejpeg, as the gateway calls it."""
    orientation, (height, width, *_) = orientation_from_jpeg(data), simplejpeg.decode_jpeg_header(data)
    return None if orientation is None else pixels_from_jpeg(data, (height, width), orientation, factor)


def _same(decode: Callable[[bytes], NDArray[Any] | None], data: bytes, expected: NDArray[Any]) -> bool:
    try:
        return np.array_equal(decode(data), expected)  # type: ignore[arg-type]  # None equals no picture
    except (ValueError, OSError, RequestError):
        return False


def turned(data: bytes) -> Iterator[bytes]:
    """The same JPEG in every orientation: EXIF is put in front, and no pixel encoded anew."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        segment = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
        yield data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


def compared(drawn: dict[str, bytes], root: Path) -> Iterator[tuple[str, bytes]]:
    """Photos and the set that they are of: the drawn ones, and the folders beneath `root`."""
    for data in drawn.values():
        yield from (("drawn, 8 orientations", one) for one in turned(data))
    for kind, data in kinds(picture(ODD_HW)).items():
        yield from ((f"drawn, {kind}, 8 orientations", one) for one in turned(data))
    for path in sorted(root.glob("*/**/*.jp*g")):
        data = path.read_bytes()
        if data[:3] == b"\xff\xd8\xff":
            yield path.relative_to(root).parts[0], data


def main() -> None:
    """Measure, print and, with --out, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--data", type=Path, default=data_root(), help="data sets to compare the decoders' pixels on")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_freed_memory()  # as in the gateway
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    sizes, decoders = {}, whole()
    drawn = {size: jpeg(picture(hw)) for size, hw in SIZES_HW.items()}
    for size, data in drawn.items():
        seconds = measured(data, {**decoders, **scaled(SIZES_HW[size])}, options.iterations)
        figures = {
            name: {"least": round(1e3 * min(values), 3), **record.percentiles(values)}
            for name, values in seconds.items()
        }
        ratios = {
            name: {of: round(figures["OpenCV"][of] / one[of], 2) for of in ("p50", "least")}
            for name, one in figures.items()
        }
        sizes[size] = {"bytes": len(data), "ms": figures, "times_as_quick_as_opencv": ratios}
        print(f"{size} MP, {len(data)} bytes; p50 and least ms (times as quick as OpenCV)")
        for name, one in figures.items():
            print(f"   {name:22} {one['p50']:8} ({ratios[name]['p50']})   {one['least']:8} ({ratios[name]['least']})")
    same = agreement(compared(drawn, options.data), decoders)
    for name, counts in same.items():
        print(f"{name}, {counts['photos']} photos, {counts['left_to_opencv']} left to OpenCV; same: {counts['same']}")
    if options.out:
        versions = {"simplejpeg": version("simplejpeg"), "pillow": version("pillow")}
        record.write(
            options.out,
            {
                "benchmark": "decode",
                "decoders": versions,
                "iterations": options.iterations,
                "megapixels": sizes,
                "same_pixels_as_opencv": same,
            },
        )


if __name__ == "__main__":
    main()
