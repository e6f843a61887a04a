"""What is asked of a stream."""

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field

from clients.headers import Headers
from clients.photos import Photo
from clients.stream.patience import OnTrouble
from clients.stream.results import Mode
from clients.stream.sources import Given


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """The arguments of `AsyncGatewayClient.stream`, and those of its client."""

    base_url: str
    timeout_s: float
    retries: int
    """Of the first connection."""
    headers: Headers = field(repr=False)
    source: Given | AsyncIterable[Photo]
    model: str
    frames: Mode | None
    reconnect_s: float
    on_trouble: OnTrouble | None
    jpeg_quality: int
    options: Mapping[str, float | None]
