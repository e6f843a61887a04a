"""A source, read in a thread of its own."""

import asyncio
import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from weakref import WeakSet

from clients.photos import Photo
from clients.stream.patience import OnTrouble, Patience
from clients.stream.results import Mode
from clients.stream.sources import Source, SourceError


@dataclass(slots=True, eq=False)
class Frame:
    """One frame of a source."""

    number: int
    """From 1."""
    image: Photo


class _Closed(Exception):  # noqa: N818 - not an error
    """Nobody wants more frames."""


class Reader:
    """Holds one frame that waits to be taken: the newest, or for "every" the next. For one event loop.

    A file that is read for its "latest" frames is read at its own speed, as if it were a camera.
    """

    def __init__(self, source: Source, mode: Mode, reopen_s: float, tell: OnTrouble) -> None:
        """`tell` is called on the loop."""
        self._source = source
        self._mode = mode
        self._patience = Patience(reopen_s, partial(self._call_soon, tell))
        self._changed = threading.Condition()
        self._waiting: Frame | None = None
        self._came = 0
        self._error: BaseException | None = None
        self._ended = False
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._filled, self._done = asyncio.Event(), asyncio.Event()
        # A daemon: a camera that gives nothing does not keep the program from ending.
        self._thread = threading.Thread(target=self._read, name="jetserve-source", daemon=True)
        self._thread.start()
        if source.end_s:
            _OPEN.add(self)

    @property
    def waits(self) -> bool:
        """Whether there is a frame to take."""
        return self._waiting is not None

    async def next(self) -> Frame | None:
        """The frame that waits, or the next that comes; None after the last.

        Raises:
            What the source raised.
        """
        while True:
            with self._changed:
                if self._waiting is not None:
                    frame, self._waiting = self._waiting, None
                    self._changed.notify()
                    return frame
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return None
                self._filled.clear()
            await self._filled.wait()

    async def close(self) -> None:
        """Have the thread end, and wait for it as long as the source says: a camera that hangs is not waited for."""
        self.stop()
        if self._source.end_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._source.end_s):
                    await self._done.wait()  # join would need a thread, and when Python ends there are no new ones

    def stop(self) -> None:
        """Have the thread end, from any thread."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        self._source.interrupt()

    def join(self) -> None:
        """Wait for the thread, as long as the source says."""
        self._thread.join(self._source.end_s)

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            self._read_on()
        except _Closed:
            pass
        except BaseException as exc:  # noqa: BLE001 - raised to whoever takes the frames
            error = exc
        with self._changed:
            self._ended, self._error = True, error
            self._call_soon(self._filled.set)
        self._call_soon(self._done.set)

    def _read_on(self) -> None:
        frames = self._source.frames(self._recover)
        try:
            for image in self._paced(frames):
                self._patience.all_well()
                self._put(image)
        finally:
            if close := getattr(frames, "close", None):
                close()

    def _paced(self, frames: Iterator[Photo]) -> Iterator[Photo]:
        fps = None if self._source.live or self._mode == "every" else self._source.fps
        for image in frames:
            yield image
            if fps is not None and self._stop.wait(1 / fps):
                raise _Closed

    def _put(self, image: Photo) -> None:
        with self._changed:
            while self._mode == "every" and self._waiting is not None and not self._stop.is_set():
                self._changed.wait()
            if self._stop.is_set():
                raise _Closed
            self._came += 1
            was_empty, self._waiting = self._waiting is None, Frame(self._came, image)
            if was_empty:
                self._call_soon(self._filled.set)

    def _call_soon(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *args)

    def _recover(self, error: SourceError) -> None:
        if self._stop.wait(self._patience.pause_s(error)):
            raise _Closed


_OPEN: WeakSet[Reader] = WeakSet()


@atexit.register
def _end_all() -> None:
    """Python must not end while OpenCV is about to return to it, however the stream was left: that would abort it."""
    readers = list(_OPEN)
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join()
