"""Frames kept: as a video, or as pictures in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from clients.commands.pictures import write_picture
from vision.errors import InvalidArgument

if TYPE_CHECKING:
    import cv2

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class Recording(Protocol):
    """Frames uint8 [h, w, 3] BGR go in; `at_s` is the time of each, from the first frame's."""

    def write(self, image_bgr: NDArray[np.uint8], number: int, at_s: float) -> None:
        """Keep one."""

    def close(self) -> None:
        """Finish the file."""


class Video:
    """A video in which each frame stands at its own time, until the next one comes."""

    def __init__(self, path: Path, fps: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._last: NDArray[np.uint8] | None = None
        self._written = 0

    def write(self, image_bgr: NDArray[np.uint8], number: int, at_s: float) -> None:
        """Keep one.

        Raises:
            OSError: the file cannot be written.
            InvalidArgument: a frame of another size than the first.
        """
        height, width = image_bgr.shape[:2]
        if self._writer is None:
            self._writer, self._size_wh = self._opened(width, height), (width, height)
        if (width, height) != self._size_wh:
            raise InvalidArgument(
                f"frame {number} is {width}x{height}, and the first was {self._size_wh[0]}x{self._size_wh[1]}: a video"
                " has one size; save to a folder"
            )
        place = round(at_s * self._fps)
        while self._last is not None and self._written < place:
            self._writer.write(self._last)
            self._written += 1
        if self._written == place:
            self._writer.write(image_bgr)
            self._written += 1
        self._last = image_bgr

    def close(self) -> None:
        """Finish the file: without it, it could not be played."""
        if self._writer is not None:
            self._writer.release()

    def _opened(self, width: int, height: int) -> "cv2.VideoWriter":
        import cv2

        code = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, code, self._fps, (width, height))
        if not writer.isOpened():
            raise OSError(f"{self._path} cannot be written as a video of {width}x{height}; may this folder be written?")
        return writer


class Pictures:
    """A folder with a JPEG for each frame."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, image_bgr: NDArray[np.uint8], number: int, at_s: float) -> None:
        """Keep one.

        Raises:
            OSError: the file cannot be written.
        """
        write_picture(self._folder / f"frame-{number:06}.jpg", image_bgr)

    def close(self) -> None:
        """Nothing is open."""


def recording_to(path: Path, fps: float) -> Recording:
    """A video for a file, pictures for a folder."""
    return Video(path, fps) if path.suffix else Pictures(path)
