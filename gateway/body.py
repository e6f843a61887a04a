"""Request bodies to photos, kept in memory and counted while they arrive."""

from collections.abc import AsyncIterator

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from clients.echo import quoted
from gateway import media_types
from gateway.gone import CallerGone
from gateway.multipart import photos_from_chunks
from gateway.photo import Photo
from vision.errors import InvalidImage, TooLarge, UnsupportedMediaType


async def photos_from_request(request: Request, *, max_bytes: int, max_files: int) -> list[Photo]:
    """The photo that is the body, or every file of a multipart form, in order.

    Raises:
        UnsupportedMediaType: before a byte is read.
        TooLarge: before a byte is read where `Content-Length` tells, else at the byte too many.
        InvalidImage: an empty body or file.
        InvalidArgument: a form that is broken, holds no file, too many, or anything but files.
        CallerGone: the caller hung up.
    """
    declared, parameters = parse_options_header(request.headers.get("content-type"))
    media_type = declared.decode("latin-1").lower()
    if media_type != media_types.FORM and not media_types.is_photo(media_type):
        raise media_types.not_taken("the body", media_type)
    refuse_encoded(request)
    chunks = capped_chunks(request, max_bytes)
    if media_type == media_types.FORM:
        return await photos_from_chunks(chunks, boundary=parameters.get(b"boundary", b""), max_files=max_files)
    data = b"".join([chunk async for chunk in chunks])
    if not data:
        raise InvalidImage("the body is empty; send the photo's bytes, for example: curl --data-binary @photo.jpg")
    return [Photo(None, data)]


def refuse_encoded(request: Request) -> None:
    """Raise UnsupportedMediaType where the body is compressed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(
            f"the content encoding is {quoted(encoding)}; send the photo as it is: image formats are compressed already"
        )


RAISE = "send a smaller photo or fewer, or raise GATEWAY_MAX_BODY_BYTES"


async def capped_chunks(request: Request, max_bytes: int, advice: str = RAISE) -> AsyncIterator[bytes]:
    """The body as it arrives; `advice` ends the message about one that is too large.

    Raises:
        TooLarge: before a byte is read where `Content-Length` tells, else at the byte too many.
        CallerGone: the caller hung up.
    """
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > max_bytes:
        raise _too_large(f"{declared} bytes", max_bytes, advice)
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes:
                raise _too_large("longer", max_bytes, advice)
            yield chunk
    except ClientDisconnect as exc:
        raise CallerGone from exc


def _too_large(came: str, max_bytes: int, advice: str) -> TooLarge:
    return TooLarge(f"the body may have {max_bytes} bytes and is {came}; {advice}")
