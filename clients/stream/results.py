"""What comes out of a stream."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from clients.photos import Photo
from clients.results import Result
from vision.errors import JetserveError

Mode: TypeAlias = Literal["latest", "every"]
"""What becomes of frames that come faster than they are answered.

`latest`: one that waits gives way to the next, so that answers are about now; a camera. `every`: each is answered, and
the source is read no faster; a file.
"""


@dataclass(frozen=True, slots=True, eq=False)
class StreamResult:
    """What was found on one frame, or why nothing could be."""

    frame: int
    """Number in the source, from 1."""
    result: Result | None
    error: JetserveError | None
    """The gateway's answer for this frame, in place of a result; the stream goes on."""
    dropped: int
    """Frames between the last answered one and this that were not answered: newer ones took their place, here or at
    the gateway, or they were lost with a connection."""
    image: Photo
    """The frame as the source gave it; `result.draw(image)` draws on it."""
