"""Videos, and a camera on the network, whose frames can be told apart by their colour."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

STEP = 8
"""Between the blue of one frame and the next."""


def shade(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Frame `number`, from 1: uint8 [h, w, 3] BGR, bluer from one to the next."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = min(255, STEP * number)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """Which frame it is, as near as a codec has left it."""
    return round(float(image[..., 0].mean()) / STEP)


def write_video(path: Path, frames: int = 20, fps: float = 10.0, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """Write frames 1, 2, …; MJPG for .avi, else MPEG-4."""
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size_wh)
    assert writer.isOpened()
    for number in range(1, frames + 1):
        writer.write(shade(number, *size_wh))
    writer.release()
    return path


def read_video(path: Path) -> list[NDArray[np.uint8]]:
    """Its frames."""
    capture = cv2.VideoCapture(str(path))
    frames: list[NDArray[np.uint8]] = []
    while True:
        there, image = capture.read()
        if not there:
            capture.release()
            return frames
        frames.append(image.astype(np.uint8, copy=False))


class NetworkCamera:
    """Serves JPEGs one after another over HTTP, as many a camera does, until `hang_up`; then again to who asks."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._stop = threading.Event()
        self._hung_up = threading.Event()
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/video"
        self.connections = 0
        self.sent = 0
        """Frames, over all connections."""
        self.stalled = threading.Event()
        """While it is set nothing is sent, and the connection stays."""

    def hang_up(self) -> None:
        """End the connection there is."""
        self._hung_up.set()

    def serve(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                self.connections += 1
                self._hung_up.clear()
                with connection:
                    self._send_frames(connection)

    def _send_frames(self, connection: socket.socket) -> None:
        connection.recv(4000)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        number = 0
        while not (self._stop.is_set() or self._hung_up.is_set()):
            while self.stalled.is_set() and not self._stop.is_set():
                time.sleep(0.01)
            number = number % 30 + 1
            data = cv2.imencode(".jpg", shade(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data + b"\r\n")
            self.sent += 1
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_camera(port: int = 0) -> Iterator[NetworkCamera]:
    """A camera at fifty frames a second, in a thread."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        camera = NetworkCamera(listener)
        thread = threading.Thread(target=camera.serve)
        thread.start()
        try:
            yield camera
        finally:
            camera.stop()
            thread.join()
