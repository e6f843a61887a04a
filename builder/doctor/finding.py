"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`warn` serves, and slower or less safely than it could; `fail` does not serve, or is about to stop doing so."""

    level: Level
    about: str
    found: str
    expected: str | None = None
    command: str | None = None
    """What mends it, to be typed on the device."""
