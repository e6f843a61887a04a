"""The part of nvImageCodec's Python interface that the gateway calls, as nvidia-nvimgcodec-cu12 0.9.0 has it.

A stand-in for machines without it: names and parameters are those that the real module's own signatures give
(`tests/gateway/test_decoder.py` holds the two against each other where the real one is installed), any other raises.
OpenCV does the decoding, which is what the real one's CPU backend comes to.
"""

from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PARAMETERS = {
    "Decoder": ("device_id", "max_num_cpu_threads", "backends", "options"),
    "Decoder.decode": ("src", "image", "params", "cuda_stream"),
    "DecodeParams": ("apply_exif_orientation", "color_spec", "allow_any_depth", "sample_format"),
    "Backend": ("backend_kind", "load_hint", "load_hint_policy"),
}


class ColorSpec(Enum):
    SRGB = 1


class SampleFormat(Enum):
    I_BGR = 5


class BackendKind(Enum):
    CPU_ONLY = 1


@dataclass
class DecodeParams:
    apply_exif_orientation: bool = True
    color_spec: ColorSpec = ColorSpec.SRGB
    allow_any_depth: bool = False
    sample_format: Any = None


@dataclass
class Backend:
    backend_kind: BackendKind


class CodeStream:
    def __init__(self, data: bytes) -> None:
        if data[:3] != b"\xff\xd8\xff":
            raise RuntimeError("Failed to get image info")
        self.data = data


@dataclass
class Image:
    """As it lies where it was decoded; `cpu()` is a copy in the host's memory."""

    pixels: NDArray[np.uint8]

    def cpu(self) -> NDArray[np.uint8]:
        return self.pixels


@dataclass
class Surface:
    """The module. `has_device` False is a machine without CUDA; `made` are the decoders, by what they were given."""

    has_device: bool = True
    made: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        known = {
            "ColorSpec": ColorSpec,
            "SampleFormat": SampleFormat,
            "BackendKind": BackendKind,
            "DecodeParams": DecodeParams,
            "Backend": Backend,
            "CodeStream": CodeStream,
            "NVIMGCODEC_DEVICE_CPU_ONLY": -99999,
        }
        if name not in known:
            raise AttributeError(f"nvimgcodec has no {name}")
        return known[name]

    def Decoder(self, **given: Any) -> Any:  # noqa: N802 - the library's name
        if unknown := set(given) - set(PARAMETERS["Decoder"]):
            raise TypeError(f"Decoder takes no {sorted(unknown)}")
        if not self.has_device and "device_id" not in given:
            raise RuntimeError("CUDA Runtime failure: '#35'")
        self.made.append(given)

        def decode(src: CodeStream, *, params: DecodeParams) -> Image | None:
            assert params.sample_format is SampleFormat.I_BGR
            flags = cv2.IMREAD_COLOR | (0 if params.apply_exif_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
            pixels = cv2.imdecode(np.frombuffer(src.data, np.uint8), flags)
            return None if pixels is None else Image(np.asarray(pixels, np.uint8))

        return SimpleNamespace(decode=decode)
