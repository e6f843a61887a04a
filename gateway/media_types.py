"""The media types that are taken and given, and the choice among the latter."""

from clients.echo import quoted
from vision.errors import UnsupportedMediaType

JSON = "application/json"
PICTURES = ("image/jpeg", "image/png")
"""What an annotated picture can be sent as."""

PHOTOS = ("image/jpeg", "image/png", "image/webp", "image/bmp")
"""What a photo should be declared as. Which of them it is, its bytes decide: phones and browsers mislabel."""

UNDECLARED = "application/octet-stream"
"""Also taken for a photo: RFC 9110 8.3 has it mean "see for yourself"."""

_ALIASES = {"image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "image/x-bmp"}
_TAKEN = {*PHOTOS, UNDECLARED, *_ALIASES}
FORM = "multipart/form-data"


def is_photo(media_type: str) -> bool:
    """Whether a body or part so declared may be a photo."""
    return media_type in _TAKEN


def not_taken(what: str, media_type: str) -> UnsupportedMediaType:
    """The refusal of anything else, with what would be right."""
    came = quoted(media_type) if media_type else "missing"
    return UnsupportedMediaType(
        f"the content type of {what} is {came}; send {', '.join(PHOTOS)}, {UNDECLARED} or {FORM},"
        " for example: curl -H 'content-type: image/jpeg' --data-binary @photo.jpg"
    )


def chosen_answer(accept: str | None) -> str:
    """The media type to answer with: JSON, or one of `PICTURES`.

    The highest quality wins, then JSON before JPEG before PNG (RFC 9110 12.5.1). A header that none of them
    satisfies is disregarded, as that section allows: JSON says more to a client than a 406.
    """
    if not accept:
        return JSON
    ranges = [_range(part) for part in accept.split(",")]
    best, best_quality = JSON, 0.0
    for candidate in (JSON, *PICTURES):
        quality = _quality(candidate, ranges)
        if quality > best_quality:
            best, best_quality = candidate, quality
    return best


def _range(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_range, float(value)
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(candidate: str, ranges: list[tuple[str, float]]) -> float:
    """That of the most specific range which matches."""
    by_range = dict(ranges)
    for media_range in (candidate, f"{candidate.partition('/')[0]}/*", "*/*"):
        if media_range in by_range:
            return by_range[media_range]
    return 0.0
