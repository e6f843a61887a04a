"""One photo as it was sent."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Photo:
    """Encoded bytes, and the file name if one came along."""

    name: str | None
    data: bytes
