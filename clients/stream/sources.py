"""Where frames come from: a webcam, a video file, an address, a folder, or whatever gives one after another."""

import asyncio
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from clients.folders import photos_in
from clients.photos import Photo
from vision.errors import InvalidArgument

if TYPE_CHECKING:
    import cv2

Given: TypeAlias = Union[int, str, Path, Iterable[Photo], "Source"]
"""Number of a webcam; path of a video, of a folder of photos or of a device; address (rtsp://…, http://…); frames."""

Recover = Callable[["SourceError"], None]
"""Waits before another attempt, or raises what it is given when there is to be none."""

REASONABLE_FPS = (1.0, 240.0)
"""What a source says of itself beyond these is no rate: containers without one say 90000."""


class SourceError(OSError):
    """A source that cannot be opened, or gives no frames."""


class Source:
    """Frames one after another. For one reading, by one thread, which also closes it."""

    live = False
    """Whether it goes on while nobody reads: frames that are not taken at once are old."""
    fps: float | None = None
    """Frames a second, where it says so."""
    end_s = 0.0
    """How long to wait, at the end, until its thread is done."""

    def __init__(self, frames: Iterable[Photo]) -> None:
        self._frames = frames

    def frames(self, recover: Recover) -> Iterator[Photo]:
        """Each frame in turn."""
        yield from self._frames

    def interrupt(self) -> None:
        """Have whoever waits for a frame wait no longer, where that can be had; from another thread."""

    async def aclose(self) -> None:
        """End what gives frames on the event loop, where there is such a thing; on that loop, after `interrupt`."""


class Awaited(Source):
    """Frames of an asynchronous iterable: its own event loop gives them, and the reading thread waits."""

    def __init__(self, frames: AsyncIterable[Photo], loop: asyncio.AbstractEventLoop) -> None:
        self._awaited = aiter(frames)
        self._loop = loop
        self._next: Future[list[Photo]] | None = None
        self._step: asyncio.Task[object] | None = None
        self._interrupted = False

    def frames(self, recover: Recover) -> Iterator[Photo]:
        """Each frame in turn.

        Raises:
            concurrent.futures.CancelledError: after `interrupt`.
        """
        while True:
            self._next = asyncio.run_coroutine_threadsafe(self._one_or_none(), self._loop)
            if self._interrupted:
                self._next.cancel()
            one_or_none = self._next.result()
            if not one_or_none:
                return
            yield one_or_none.pop()

    def interrupt(self) -> None:
        """Cancel the frame that is waited for."""
        self._interrupted = True
        if self._next is not None:
            self._next.cancel()

    async def aclose(self) -> None:
        """Have the generator, if it is one, do its `finally` now, and not when it is collected as garbage."""
        if self._step is not None:
            await asyncio.wait({self._step})  # `interrupt` has cancelled it; a second time would disturb that `finally`
        if close := getattr(self._awaited, "aclose", None):
            await close()

    async def _one_or_none(self) -> list[Photo]:
        if self._interrupted:  # no step begins once the source is to be closed
            return []
        self._step = asyncio.current_task()
        async for frame in self._awaited:
            return [frame]
        return []


class Video(Source):
    """What OpenCV's VideoCapture reads; frames are uint8 [h, w, 3] BGR.

    A live one that stops is opened again.
    """

    # Whoever opens the camera next finds it free.
    end_s = 2.0

    def __init__(self, target: int | str, name: str, advice: str, timeout_s: float) -> None:
        """Open it.

        Raises:
            SourceError: it cannot be opened.
        """
        self._target, self._name, self._advice, self._timeout_s = target, name, advice, timeout_s
        self._capture = self._opened()
        import cv2

        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if REASONABLE_FPS[0] <= fps <= REASONABLE_FPS[1] else None
        # An address may well be of a file; what goes on for ever has no number of frames.
        self.live = isinstance(target, int) or self._capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0

    def frames(self, recover: Recover) -> Iterator[Photo]:
        """Each frame in turn; of a live one until `recover` raises.

        Raises:
            SourceError: it has no frames.
        """
        came = 0
        try:
            while True:
                there, image = self._capture.read()
                if there:
                    came += 1
                    yield image.astype(np.uint8, copy=False)
                elif self.live:
                    recover(SourceError(f"{self._name} gives no more frames; {self._advice}"))
                    self._reopen(recover)
                elif came:
                    return
                else:
                    raise SourceError(f"{self._name} has no frames that can be read; is it a video, and whole?")
        finally:
            self._capture.release()

    def _reopen(self, recover: Recover) -> None:
        self._capture.release()
        while True:
            try:
                self._capture = self._opened()
            except SourceError as exc:
                recover(exc)
            else:
                return

    def _opened(self) -> "cv2.VideoCapture":
        import cv2

        if isinstance(self._target, int):
            capture = cv2.VideoCapture(self._target)
        else:
            wait_ms = max(1, int(self._timeout_s * 1000))
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
            capture = cv2.VideoCapture(self._target, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"{self._name} cannot be opened; {self._advice}")
        return capture


def source_from(given: Given, timeout_s: float = 30.0) -> Source:
    """Open what was given; what an address takes longer than `timeout_s` for has failed.

    Raises:
        OSError: no such file; a folder without photos; what cannot be opened.
        InvalidArgument: one photo, or nothing that frames come from.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return _camera(given, timeout_s)
    if isinstance(given, str) and "://" in given:
        return Video(given, given, "is the address right, and does whatever sends there run?", timeout_s)
    if isinstance(given, str | Path):
        return _from_path(Path(given), timeout_s)
    one_photo = isinstance(given, bytes | bytearray) or (isinstance(given, np.ndarray) and given.ndim < 4)
    if one_photo or not isinstance(given, Iterable):
        raise InvalidArgument(
            f"a {type(given).__name__} is no source of frames: give the number of a webcam, the path of a video or a"
            " folder, an address (rtsp://…), or a list or generator of photos; one photo is for `predict`"
        )
    return Source(given)


def _from_path(path: Path, timeout_s: float) -> Source:
    if path.is_dir():
        return Source(photos_in(path))
    if not path.exists():
        if str(path).isdecimal():
            return _camera(int(str(path)), timeout_s)
        raise SourceError(f"there is no such file: {path}")
    if path.is_char_device():
        device = path.resolve().name.removeprefix("video")
        if device.isdecimal():
            return _camera(int(device), timeout_s)
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path} may not be read by this user")
    return Video(str(path), str(path), "is it a video, and whole?", timeout_s)


def _camera(number: int, timeout_s: float) -> Source:
    cameras = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
    advice = f"is it plugged in, and not used by another program? Cameras here: {cameras}"
    return Video(number, f"camera {number}", advice, timeout_s)
