"""Bodies to photos: raw and multipart, in memory, counted while they arrive."""

import pytest
from starlette.requests import Request

from gateway.body import photos_from_request
from gateway.gone import CallerGone
from gateway.photo import Photo
from vision.errors import InvalidArgument, InvalidImage, TooLarge, UnsupportedMediaType, WireError

pytestmark = pytest.mark.anyio

FORM = "multipart/form-data; boundary=XX"


def part(data: bytes, *, name: str = "file", filename: str | None = "a.jpg", media_type: str | None = None) -> bytes:
    lines = [f'--XX\r\nContent-Disposition: form-data; name="{name}"'.encode()]
    if filename is not None:
        lines[0] += f'; filename="{filename}"'.encode()
    if media_type is not None:
        lines.append(f"Content-Type: {media_type}".encode())
    return b"\r\n".join([*lines, b"", data, b""])


END = b"--XX--\r\n"


async def received(
    *chunks: bytes, content_type: str | None = "image/jpeg", max_bytes: int = 10_000, max_files: int = 3, **more: str
) -> list[Photo]:
    headers = {"content-type": content_type} if content_type is not None else {}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    return await photos_from_request(_request(list(chunks), headers), max_bytes=max_bytes, max_files=max_files)


def _request(chunks: list[bytes], headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> dict[str, object]:
        if not chunks:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunks.pop(0), "more_body": chunks != [] or "cut" in headers}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def test_a_raw_body_is_one_photo_without_a_name() -> None:
    """Whatever pieces it arrives in."""
    assert await received(b"ab", b"", b"c") == [Photo(None, b"abc")]


async def test_a_form_is_a_photo_a_file_in_order() -> None:
    """Field names do not matter, nor how the bytes are cut; a file may declare nothing."""
    body = part(b"\r\n--X", media_type="image/png") + part(b"2", name="other", filename="ü.png") + END
    photos = [Photo("a.jpg", b"\r\n--X"), Photo("ü.png", b"2")]
    assert await received(body, content_type=FORM) == photos
    assert await received(*(body[i : i + 1] for i in range(len(body))), content_type=FORM) == photos


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "IMAGE/JPEG", "image/jpg; q=1", "image/webp", "application/octet-stream"]
)
async def test_these_are_taken_for_photos(content_type: str) -> None:
    """Case and parameters do not matter; which format it is, the bytes tell."""
    assert await received(b"x", content_type=content_type) == [Photo(None, b"x")]


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        (None, "missing"),
        ("", "missing"),
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'"),
        ("text/plain", "'text/plain'"),
        ("image/gif", "'image/gif'"),
    ],
)
async def test_another_content_type_is_refused_unread(content_type: str | None, said: str) -> None:
    """curl's default among them; the message says how to declare a photo."""
    with pytest.raises(UnsupportedMediaType, match=f"{said}; send image/jpeg, .*curl -H 'content-type: image/jpeg'"):
        await received(content_type=content_type)


async def test_a_compressed_body_is_refused() -> None:
    """Its size would be known only after decompressing it."""
    with pytest.raises(UnsupportedMediaType, match="content encoding is 'gzip'"):
        await received(b"x", content_encoding="gzip")


async def test_a_body_declared_as_it_is_is_taken() -> None:
    """Names of codings are case-insensitive (RFC 9110 8.4.1)."""
    assert await received(b"x", content_encoding="Identity") == [Photo(None, b"x")]


async def test_a_declared_length_over_the_cap_is_refused_unread() -> None:
    """Content-Length says it all."""
    with pytest.raises(TooLarge, match="may have 10000 bytes and is 10001 bytes"):
        await received(content_length="10001")


@pytest.mark.parametrize("content_type", ["image/jpeg", FORM])
async def test_the_cap_holds_for_what_arrives_too(content_type: str) -> None:
    """A chunked body declares no length, and is refused at the byte too many."""
    whole = part(b"x" * (10_000 - len(part(b"")) - len(END))) + END
    assert len(whole) == 10_000
    await received(whole, content_type=content_type)
    with pytest.raises(TooLarge, match="may have 10000 bytes and is longer"):
        await received(whole, b"x", content_type=content_type)


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        (END, InvalidArgument, "holds no file"),
        (b"", InvalidArgument, "stops before its closing boundary"),
        (b"not a form", InvalidArgument, "cannot be read"),
        (part(b"x"), InvalidArgument, "stops before its closing boundary"),
        (
            part(b"0.5", name="score_threshold", filename=None) + END,
            InvalidArgument,
            r"'score_threshold' is not a file",
        ),
        (part(b"x") * 4 + END, InvalidArgument, "more than 3 files"),
        (part(b"x", filename="a.pdf", media_type="application/pdf") + END, UnsupportedMediaType, r"'a\.pdf'.*pdf"),
    ],
)
async def test_a_form_that_cannot_be_used_is_refused(body: bytes, error: type[WireError], said: str) -> None:
    """Each with what is wrong about it."""
    with pytest.raises(error, match=said):
        await received(body, content_type=FORM)


async def test_a_form_without_a_boundary_is_refused() -> None:
    """It was written by hand: HTTP clients set it."""
    with pytest.raises(InvalidArgument, match="without its boundary"):
        await received(END, content_type="multipart/form-data")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        await received(END, content_type=f"multipart/form-data; boundary={'X' * 500}")


async def test_a_file_without_a_name_has_none() -> None:
    """As HTTP clients send bytes that come from no file."""
    assert await received(part(b"x", filename="") + END, content_type=FORM) == [Photo(None, b"x")]


async def test_an_empty_file_is_named() -> None:
    """Among several, which one; without a name, where."""
    with pytest.raises(InvalidImage, match=r"the file 'b\.jpg' is empty"):
        await received(part(b"x") + part(b"", filename="b.jpg") + END, content_type=FORM)
    with pytest.raises(InvalidImage, match=r"file 2 of the form, unnamed, is empty"):
        await received(part(b"x") + part(b"", filename="") + END, content_type=FORM)


async def test_an_empty_body_is_no_image() -> None:
    """The message says how to send one."""
    with pytest.raises(InvalidImage, match=r"the body is empty; .*--data-binary"):
        await received(b"")


async def test_a_caller_who_hangs_up_is_told_apart_from_a_short_photo() -> None:
    """Half a photo is never decoded."""
    with pytest.raises(CallerGone):
        await received(b"half", cut="yes")


async def test_chunks_are_not_read_ahead() -> None:
    """A body over the cap is not gathered first: memory is bounded by the cap."""
    left = [b"x" * 6_000] * 100
    request = _request(left, {"content-type": "image/jpeg"})
    with pytest.raises(TooLarge):
        await photos_from_request(request, max_bytes=10_000, max_files=1)
    assert len(left) == 98
