"""The frames of one stream between who reads them and who works on them, in words of no transport."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, get_args

from clients.echo import quoted
from clients.stream.results import Mode
from vision.errors import InvalidArgument

T = TypeVar("T")

PARAMETER = "frames"


@dataclass(frozen=True, slots=True)
class Frame(Generic[T]):
    """One frame, taken into work."""

    data: T
    number: int
    """Counted from 1 as they came, those that were dropped included."""
    dropped: int
    """How many gave way to newer ones since the frame that was taken before this one."""


class Frames(Generic[T]):
    """At most one frame that waits, and the one that was taken from here: more is never held, however many come.

    For one reader and one worker on one event loop:

        reader:  await frames.place(); frames.put(next one)  …  frames.close()
        worker:  async for frame in frames: answer it
    """

    def __init__(self, mode: Mode, on_drop: Callable[[T], None]) -> None:
        self._mode = mode
        self._on_drop = on_drop
        self._waiting: list[T] = []  # none or one
        self._came = self._dropped = 0
        self._closed = False
        self._free, self._filled = asyncio.Event(), asyncio.Event()
        self._free.set()

    async def place(self) -> None:
        """Return when the next frame may be read: at once where the latest wins, else when none waits."""
        if self._mode == "every":
            await self._free.wait()

    def put(self, data: T) -> None:
        """Have a frame wait, in place of one that does already."""
        self._came += 1
        if self._waiting:
            self._dropped += 1
            self._on_drop(self._waiting.pop())
        self._waiting.append(data)
        self._free.clear()
        self._filled.set()

    def close(self) -> None:
        """No more will come; the one that waits is still given out."""
        self._closed = True
        self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Frame[T]]:
        """Each frame as it is there, in order, until `close`."""
        while True:
            await self._filled.wait()
            if not self._waiting:
                return
            frame = Frame(self._waiting.pop(), self._came, self._dropped)
            self._dropped = 0
            self._free.set()
            if not self._closed:
                self._filled.clear()
            yield frame
            del frame  # the next may be long in coming, and this one large


def mode_from_word(word: str | None) -> Mode:
    """What the parameter `frames` says; `latest` where it is not there.

    Raises:
        InvalidArgument: another word.
    """
    for mode in get_args(Mode):
        if word == mode:
            return mode  # type: ignore[no-any-return]  # get_args is not typed
    if word is None:
        return "latest"
    raise InvalidArgument(
        f"{PARAMETER} is {quoted(word)}; it may be latest (a frame that waits gives way to the next) or every (each is"
        " answered, and the sender held back)"
    )
