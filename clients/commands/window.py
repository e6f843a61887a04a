"""Frames on the screen."""

import os
import sys

import numpy as np
from numpy.typing import NDArray

from vision.errors import InvalidArgument

LARGEST_SHARE = 0.9
"""Of the screen; a larger frame is shown smaller."""


class Window:
    """Shows one frame at a time; `closed` once the user has closed it, or typed q or Escape there.

    With Tk, which comes with Python: the OpenCV for servers has no windows.
    """

    def __init__(self, title: str) -> None:
        """Open it.

        Raises:
            InvalidArgument: there is no display, or no Tk.
        """
        if sys.platform == "linux" and not os.environ.get("DISPLAY"):
            raise InvalidArgument(
                "--show needs a display, and there is none here (DISPLAY is not set); write a file with --save instead"
            )
        try:
            import tkinter
        except ImportError as exc:
            raise InvalidArgument(
                f"--show needs Tk ({exc}): apt install python3-tk, or write a file with --save"
            ) from exc
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as exc:
            raise InvalidArgument(f"--show cannot open a window ({exc}); write a file with --save instead") from exc
        self.closed = False
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("<q>", "<Escape>"):
            self._root.bind(key, lambda _: self._close())
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._image: tkinter.PhotoImage | None = None

    def show(self, image_bgr: NDArray[np.uint8]) -> None:
        """Show a frame, uint8 [h, w, 3] BGR."""
        import tkinter

        data = ppm_of(image_bgr, self._root.winfo_screenwidth(), self._root.winfo_screenheight())
        self._image = tkinter.PhotoImage(data=data, format="ppm")  # Tk holds no reference of its own
        self._label.configure(image=self._image)
        self._root.update()

    def close(self) -> None:
        """Take it away."""
        self._root.destroy()

    def _close(self) -> None:
        self.closed = True


def ppm_of(image_bgr: NDArray[np.uint8], screen_width: int, screen_height: int) -> bytes:
    """A frame as a PPM file, small enough for the screen."""
    import cv2

    height, width = image_bgr.shape[:2]
    scale = min(1.0, LARGEST_SHARE * screen_width / width, LARGEST_SHARE * screen_height / height)
    if scale < 1:
        size_wh = (max(1, int(width * scale)), max(1, int(height * scale)))
        image_bgr = cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    height, width = image_bgr.shape[:2]
    return f"P6 {width} {height} 255\n".encode() + np.ascontiguousarray(image_bgr[..., ::-1]).tobytes()
