"""What decodes JPEGs is a deployment's choice; a model's contract says whether fewer pixels will do."""

import re
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gateway.decoder import DecoderError, DecoderName, NvImageCodec, jpeg_decoder
from gateway.settings import SettingsError, settings_from_environment
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway import nvimgcodec_surface
from tests.gateway.nvimgcodec_surface import PARAMETERS, Surface
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.tiny_models import colour_contract
from tests.vision.encoded import ORIENTATION, encoded, noise, quarters
from vision import decode
from vision.contract import contract_with_decode
from vision.decode import image_from_bytes
from vision.transforms import Preprocessor

CAP = 10_000_000


def turned() -> bytes:
    image = Image.fromarray(noise(45, 67))
    image.getexif()[ORIENTATION] = 6
    return encoded(image, "JPEG", exif=image.getexif())


def by_opencv(data: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.mark.parametrize("decode_as", ["exact", "fast"])
def test_the_contract_decides_how_many_pixels_are_decoded(
    faked: RunningGateway, fake: FakeTriton, decode_as: Any
) -> None:
    """What reaches Triton is the contract's own; the answer has the whole photo's size either way."""
    contract = contract_with_decode(colour_contract(), decode_as)
    fake.models["colour"] = FakeModel(contract, version="2")
    eventually(lambda: faked.http.get("/v1/models/colour").json()["version"] == "2", within_s=10)
    assert faked.http.get("/v1/models/colour").json()["contract"]["decode"] == decode_as
    photo = encoded(Image.fromarray(noise(301, 407)), "JPEG", quality=90)
    [result] = faked.predict("colour", photo).json()["results"]
    assert (result["width"], result["height"]) == (407, 301)
    preprocess = Preprocessor(contract)
    whole, _ = preprocess(image_from_bytes(photo, max_pixels=CAP))
    fewer, _ = preprocess(Preprocessor(contract_with_decode(contract, "fast")).decoded(photo, max_pixels=CAP))
    [call] = fake.received
    assert not np.array_equal(whole, fewer)
    assert np.array_equal(call.batch[0], whole if decode_as == "exact" else fewer)


def test_auto_is_exact_and_opencv_is_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` never takes a decoder whose pixels differ; `opencv` takes no other."""
    data = turned()
    expected = by_opencv(data)
    assert jpeg_decoder("auto") is decode.exact
    names: tuple[DecoderName, ...] = ("auto", "opencv")
    for name in names:
        assert np.array_equal(image_from_bytes(data, max_pixels=CAP, jpeg=jpeg_decoder(name)), expected)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: expected + 1)
    assert np.array_equal(image_from_bytes(data, max_pixels=CAP, jpeg=jpeg_decoder("opencv")), expected + 1)


def test_not_installed_stops_the_start_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything listens, in the words of the settings."""
    monkeypatch.setattr("gateway.decoder.find_spec", lambda _: None)
    monkeypatch.setenv("GATEWAY_DECODER", "nvimgcodec")
    with pytest.raises(SettingsError, match=r"GATEWAY_DECODER='nvimgcodec'.*pip install nvidia-nvimgcodec-tegra-cu12"):
        settings_from_environment()
    with pytest.raises(DecoderError, match="not installed"):
        jpeg_decoder("nvimgcodec")


def test_an_unknown_decoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like any setting: the ones there are stand in the message."""
    monkeypatch.setenv("GATEWAY_DECODER", "gpu")
    with pytest.raises(SettingsError, match="'auto', 'opencv' or 'nvimgcodec'"):
        settings_from_environment()


def test_no_device_is_found_at_the_start() -> None:
    """Not at the first photo, and the message says what else there is."""
    with pytest.raises(DecoderError, match=r"CUDA Runtime failure.*GATEWAY_DECODER=auto"):
        NvImageCodec(Surface(has_device=False))


def test_the_door_asks_for_upright_bgr_and_keeps_a_decoder_a_thread() -> None:
    """Pixels are upright BGR in the host's memory; two threads never share a decoder, one never makes two."""
    surface = Surface()
    codec = NvImageCodec(surface)
    data = turned()
    expected = by_opencv(data)
    for _ in range(3):
        pixels = codec(data, (45, 67))
        assert pixels is not None
        assert np.array_equal(pixels, expected)
    [given] = surface.made
    assert given["max_num_cpu_threads"] == 1  # photos are spread over the gateway's own threads
    assert "backends" not in given  # whatever there is
    thread = threading.Thread(target=lambda: codec(data, (45, 67)))
    thread.start()
    thread.join()
    assert len(surface.made) == 2


def test_what_the_door_does_not_read_is_opencvs() -> None:
    """Other formats never reach it, and a JPEG that it cannot parse or decode is decoded as ever."""
    codec = NvImageCodec(Surface())
    assert codec(b"not a jpeg", (1, 1)) is None
    damaged = turned()[:400]
    assert codec(damaged, (45, 67)) is None
    png = encoded(quarters(), "PNG")
    assert np.array_equal(image_from_bytes(png, max_pixels=CAP, jpeg=codec), image_from_bytes(png, max_pixels=CAP))
    unread = image_from_bytes(turned(), max_pixels=CAP, jpeg=lambda *_: None)
    assert np.array_equal(unread, image_from_bytes(turned(), max_pixels=CAP))


@pytest.mark.parametrize(
    "pixels", [np.zeros((45, 67), np.uint8), np.zeros((45, 67, 4), np.uint8), np.zeros((45, 67, 3))]
)
def test_pixels_of_another_kind_are_none(monkeypatch: pytest.MonkeyPatch, pixels: NDArray[Any]) -> None:
    """What is not uint8 [h, w, 3] is left to OpenCV, whatever the device's decoder made of it."""
    monkeypatch.setattr(nvimgcodec_surface.Image, "cpu", lambda _: pixels)
    codec = NvImageCodec(Surface())
    assert codec(turned(), (45, 67)) is None
    assert np.array_equal(image_from_bytes(turned(), max_pixels=CAP, jpeg=codec), by_opencv(turned()))


def test_on_the_cpu_no_device_is_looked_for() -> None:
    """A machine without CUDA opens its CPU backend, and no other."""
    surface = Surface(has_device=False)
    assert NvImageCodec(surface, cpu_only=True)(turned(), (45, 67)) is not None
    assert [backend.backend_kind for backend in surface.made[0]["backends"]] == [
        nvimgcodec_surface.BackendKind.CPU_ONLY
    ]


def test_the_gateway_decodes_with_what_it_is_told(monkeypatch: pytest.MonkeyPatch, fake: FakeTriton) -> None:
    """`GATEWAY_DECODER` is what photos go through, in the threads that decode; without it they do not."""
    surface = Surface()
    monkeypatch.setattr("gateway.decoder.find_spec", lambda _: True)
    monkeypatch.setattr("gateway.decoder._library", lambda: surface)
    photo = encoded(Image.fromarray(noise(45, 67)), "JPEG")
    for decoder, threads in (("auto", 0), ("nvimgcodec", 2)):
        with running_gateway(fake.address, decoder=decoder) as gateway:
            assert gateway.predict("colour", photo).status_code == 200
        assert len(surface.made) == threads, decoder  # the one that started, and the one that decoded


def test_the_stand_in_has_the_real_ones_names() -> None:
    """Where nvImageCodec is installed: every name and parameter that the gateway uses is in its own signatures."""
    library = pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec-cu12 is not installed here")
    for name in ("ColorSpec", "SampleFormat", "BackendKind"):
        assert set(getattr(nvimgcodec_surface, name).__members__) <= set(getattr(library, name).__members__)
    for name, parameters in PARAMETERS.items():
        owner, _, method = name.partition(".")
        told = getattr(getattr(library, owner), method or "__init__").__doc__
        assert all(re.search(rf"\b{parameter}: ", told) for parameter in parameters), name
    assert library.NVIMGCODEC_DEVICE_CPU_ONLY


def test_the_real_one_on_the_cpu() -> None:
    """Where nvImageCodec is installed: its CPU backend gives OpenCV's pixels, upright, and None for damage."""
    pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec-cu12 is not installed here")
    codec = NvImageCodec(cpu_only=True)
    for data in (turned(), encoded(quarters().convert("L"), "JPEG"), encoded(Image.fromarray(noise(64, 64)), "JPEG")):
        expected = by_opencv(data)
        decoded = codec(data, (0, 0))
        assert decoded is not None
        assert np.array_equal(decoded, expected)
    assert codec(turned()[:400], (45, 67)) is None
    assert codec(b"hello", (45, 67)) is None
