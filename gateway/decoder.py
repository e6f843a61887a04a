"""What decodes the JPEGs of this gateway, as `GATEWAY_DECODER` says; a door to a Jetson's own decoder among it."""

from collections.abc import Callable
from importlib.util import find_spec
from threading import local
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vision.decode import JpegDecoder, exact, opencv
from vision.geometry import Hw

DecoderName = Literal["auto", "opencv", "nvimgcodec"]
PACKAGES = "nvidia-nvimgcodec-tegra-cu12 on a Jetson, nvidia-nvimgcodec-cu12 elsewhere"


class DecoderError(Exception):
    """The decoder that was asked for is not here; the message is for the person who set it."""


def jpeg_decoder(name: DecoderName) -> JpegDecoder:
    """What `name` stands for. `auto` is the fastest whose pixels are OpenCV's, which excludes nvImageCodec on a GPU.

    Raises:
        DecoderError: nvImageCodec is wanted and not installed, or finds no device to decode on.
    """
    match name:
        case "auto":
            return exact
        case "opencv":
            return opencv
        case "nvimgcodec":
            return NvImageCodec()


def require_installed(name: DecoderName) -> None:
    """What can be said without looking for a device.

    Raises:
        DecoderError: nvImageCodec is wanted, and its package is not there.
    """
    if name == "nvimgcodec" and not (find_spec("nvidia") and find_spec("nvidia.nvimgcodec")):
        raise DecoderError(f"nvImageCodec is not installed: pip install {PACKAGES}; or leave GATEWAY_DECODER out")


class NvImageCodec:
    """JPEGs by NVIDIA's nvImageCodec 0.5 or newer: on the device's decoder, on the GPU, or by its own CPU backend.

    A decoder holds its own threads and streams, so every thread that decodes has one.
    """

    def __init__(self, library: Any = None, *, cpu_only: bool = False) -> None:
        """`library` is the module, imported here if not given; with `cpu_only` no device is looked for.

        Raises:
            DecoderError: it is not installed, or finds no device.
        """
        self._library = _library() if library is None else library
        self._cpu_only = cpu_only
        self._of_thread = local()
        self._parameters = self._library.DecodeParams(
            apply_exif_orientation=True,
            color_spec=self._library.ColorSpec.SRGB,
            sample_format=self._library.SampleFormat.I_BGR,
        )
        self._decoder()  # a device that is not there is found at the start, not at the first photo

    def __call__(self, data: bytes, _stored_hw: Hw) -> NDArray[np.uint8] | None:
        """Pixels uint8 [h, w, 3] BGR, upright, in the host's memory; None where nvImageCodec does not read the file."""
        try:
            image = self._decoder().decode(self._library.CodeStream(data), params=self._parameters)
        except RuntimeError:  # how it says that it cannot parse the bytes
            return None
        if image is None:
            return None
        pixels = np.asarray(image.cpu())
        fits = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        return pixels if fits else None

    def _decoder(self) -> Any:
        found = getattr(self._of_thread, "decoder", None)
        if found is None:
            make: Callable[..., Any] = self._library.Decoder
            try:
                found = make(**self._where(), max_num_cpu_threads=1, options=":fancy_upsampling=1")
            except RuntimeError as exc:
                raise DecoderError(
                    f"nvImageCodec found no device to decode on ({exc}). Is CUDA's driver there, and does the container"
                    " have the device? GATEWAY_DECODER=auto decodes on the CPU"
                ) from exc
            self._of_thread.decoder = found
        return found

    def _where(self) -> dict[str, Any]:
        if not self._cpu_only:
            return {}
        kinds = self._library.BackendKind
        return {
            "device_id": self._library.NVIMGCODEC_DEVICE_CPU_ONLY,
            "backends": [self._library.Backend(kinds.CPU_ONLY)],
        }


def _library() -> Any:
    require_installed("nvimgcodec")
    try:
        from nvidia import nvimgcodec  # only where it is asked for: it comes with NVIDIA's licence and needs CUDA
    except ImportError as exc:
        raise DecoderError(f"nvImageCodec is installed and cannot be imported: {exc}") from exc
    return nvimgcodec
