"""Multipart forms (RFC 7578) to photos, in memory.

Starlette's own reader writes each file above 1 MB to disk through its thread pool; the body is capped here already.
"""

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clients.echo import quoted
from gateway import media_types
from gateway.photo import Photo
from vision.errors import InvalidArgument, InvalidImage


async def photos_from_chunks(chunks: AsyncIterator[bytes], *, boundary: bytes, max_files: int) -> list[Photo]:
    """Every file of the form, in order, whatever its field is called.

    Raises:
        InvalidArgument: the form is broken, holds no file, too many, or anything but files.
        InvalidImage: a file is empty.
        UnsupportedMediaType: a file is declared as something other than an image that is served.
    """
    if not boundary:
        raise InvalidArgument("multipart/form-data came without its boundary; let the HTTP client set the content type")
    form = _Form(max_files)
    try:
        parser = form.parser(boundary)
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError as exc:
        raise InvalidArgument(f"the multipart form cannot be read: {exc}") from exc
    if not form.ended:
        raise InvalidArgument("the multipart form stops before its closing boundary; send it whole")
    if not form.photos:
        raise InvalidArgument("the multipart form holds no file; send one, for example: curl -F file=@photo.jpg")
    return form.photos


class _Form:
    """What the parser's callbacks gather."""

    def __init__(self, max_files: int) -> None:
        self.photos: list[Photo] = []
        self.ended = False
        self._max_files = max_files
        self._name: str | None = None
        self._data = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()

    def parser(self, boundary: bytes) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": lambda data, start, end: self._data.extend(memoryview(data)[start:end]),
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        _, disposition = parse_options_header(self._headers.get(b"content-disposition"))
        field = disposition.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in disposition:
            raise InvalidArgument(
                f"the form's field {quoted(field)} is not a file; parameters belong in the query: ?score_threshold=0.5"
            )
        self._name = disposition[b"filename"].decode("utf-8", "replace") or None
        if len(self.photos) == self._max_files:
            raise InvalidArgument(
                f"the form holds more than {self._max_files} files; send fewer, or raise GATEWAY_MAX_FILES"
            )
        declared, _ = parse_options_header(self._headers.get(b"content-type", media_types.UNDECLARED.encode()))
        media_type = declared.decode("latin-1").lower()
        if not media_types.is_photo(media_type):
            raise media_types.not_taken(self._which(), media_type)

    def _on_part_end(self) -> None:
        if not self._data:
            raise InvalidImage(f"{self._which()} is empty; send the photo's bytes, or leave the field out")
        self.photos.append(Photo(self._name, bytes(self._data)))

    def _which(self) -> str:
        return f"the file {quoted(self._name)}" if self._name else f"file {len(self.photos) + 1} of the form, unnamed,"

    def _on_end(self) -> None:
        self.ended = True
