"""Photos in whatever form a program has them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clients import GatewayClient
from clients.photos import MAX_PIXELS, Photo, encoded_photo, image_from_photo
from gateway.settings import Settings
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway
from vision.errors import InvalidArgument, InvalidImage

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(NOISE[..., ::-1].copy()).save(path)
    return path


def decoded(photo: Photo) -> NDArray[np.uint8]:
    """As a gateway sees it."""
    image = cv2.imdecode(np.frombuffer(encoded_photo(photo).content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


def test_every_form_of_a_png_is_the_same_pixels(png: Path) -> None:
    """Sent to a gateway or decoded here."""
    with Image.open(png) as picture:
        for photo in (png, str(png), png.read_bytes(), NOISE, picture):
            np.testing.assert_array_equal(decoded(photo), NOISE)
            np.testing.assert_array_equal(image_from_photo(photo), NOISE)


def test_every_form_of_a_png_has_the_same_result(png: Path, gateway: RunningGateway) -> None:
    """Only a file has a name."""
    with GatewayClient(gateway.url) as client, Image.open(png) as picture:
        results = [client.predict(photo, "colour") for photo in (png, str(png), png.read_bytes(), NOISE, picture)]
    assert [result.name for result in results] == ["noise.png", "noise.png", None, None, None]
    assert len({result.model_dump_json(exclude={"name", "timings_ms"}) for result in results}) == 1


def test_a_file_keeps_its_bytes(tmp_path: Path) -> None:
    """What a camera wrote is not encoded again."""
    jpeg = tmp_path / "a.jpg"
    jpeg.write_bytes(b"any bytes")
    sent = encoded_photo(jpeg)
    assert (sent.content, sent.name, sent.media_type) == (b"any bytes", "a.jpg", "image/jpeg")
    assert encoded_photo(b"x").media_type is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_a_picture_is_what_its_png_would_be(mode: str, tmp_path: Path) -> None:
    """In every mode that is taken: alpha is dropped as by the gateway, not blended."""
    rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 7, np.uint8)])
    picture = Image.fromarray(rgba).convert(mode)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded(picture), decoded(tmp_path / "a.png"))


def test_a_picture_is_sent_upright() -> None:
    """As its EXIF orientation says: the gateway turns a file in the same way."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture = Image.fromarray(NOISE[..., ::-1].copy())
    picture.getexif().update(exif)
    np.testing.assert_array_equal(decoded(picture), np.rot90(NOISE, -1))


def test_grey_and_views_are_taken() -> None:
    """Grey is three equal channels; a mirrored or cut view need not be copied by the caller."""
    np.testing.assert_array_equal(decoded(NOISE[..., 0]), np.repeat(NOISE[..., :1], 3, axis=2))
    np.testing.assert_array_equal(image_from_photo(NOISE[..., 0]), np.repeat(NOISE[..., :1], 3, axis=2))
    np.testing.assert_array_equal(decoded(NOISE[::-1, 10:20]), NOISE[::-1, 10:20])


WRONG = {
    "expected uint8 pixels from 0 to 255, got float32 [4, 4, 3]; scale": np.zeros((4, 4, 3), np.float32),
    "got bool [4, 4]": np.zeros((4, 4), np.bool_),
    "got uint8 [4, 4, 4]; give the photos of a batch one by one, and three channels": np.zeros((4, 4, 4), np.uint8),
    "got uint8 [1, 4, 4, 3]; give": np.zeros((1, 4, 4, 3), np.uint8),
    "got uint8 [3, 4, 4]; give": np.zeros((3, 4, 4), np.uint8),
    "got uint8 [0, 4, 3]; did the camera": np.zeros((0, 4, 3), np.uint8),
    "got I;16; convert": Image.new("I;16", (4, 4)),
    "got CMYK; convert": Image.new("CMYK", (4, 4)),
    "a NoneType is no photo: give a path, encoded bytes, a NumPy array or a picture of Pillow's": None,
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_photo_says_why(message: str) -> None:
    """And what would be one; the same for sending and for pixels."""
    for take in (encoded_photo, image_from_photo):
        with pytest.raises(InvalidArgument) as caught:
            take(WRONG[message])  # type: ignore[arg-type]  # as a program without types would
        assert message in caught.value.detail


def test_bytes_are_only_looked_at_where_pixels_are_wanted() -> None:
    """The gateway looks for itself; both limit what a header may claim to the same."""
    assert encoded_photo(b"text").content == b"text"
    with pytest.raises(InvalidImage):
        image_from_photo(b"text")
    assert image_from_photo(encoded(8, 4)).shape == (4, 8, 3)
    assert Settings().max_pixels == MAX_PIXELS
