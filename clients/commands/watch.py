"""`watch`: a camera, a video or a folder, with what is on each frame."""

import argparse
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from clients.commands.arguments import add_gateway, add_model, add_output, asked_of, seconds
from clients.commands.output import Results, complain, note, say, say_json
from clients.commands.recording import CODECS, Recording, recording_to
from clients.commands.status_line import StatusLine
from clients.commands.window import Window
from clients.gateway_sync import GatewayClient
from clients.photos import image_from_photo
from clients.results import Class, Detection, Result
from clients.stream.results import Mode, StreamResult
from clients.stream.sources import Source, source_from
from clients.tables import plural
from vision.errors import JetserveError

DEFAULT_FPS = 25.0
RATE_OVER_S = 2.0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("watch", help="what is on the frames of a camera or video")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="number of a webcam, video file, folder of photos, or address (rtsp://…, http://…)",
    )
    add_model(parser)
    parser.add_argument("--save", type=_save, metavar="OUT", help=f"write frames, drawn on: {_SUFFIXES}, or a folder")
    parser.add_argument("--show", action="store_true", help="show frames, drawn on, in a window; q closes it")
    parser.add_argument(
        "--frames", choices=get_args(Mode), help="drop frames that wait (cameras), or answer each (files)"
    )
    parser.add_argument("--fps", type=_fps, metavar="N", help="of the saved video (the source's, or 25)")
    parser.add_argument(
        "--reconnect", type=seconds, default=60.0, metavar="SECONDS", help="how long to try again (%(default)g)"
    )
    add_gateway(parser)
    add_output(parser, default=None)
    parser.set_defaults(command=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """1 when a frame failed. Ctrl-C, SIGTERM and a closed window end it as the end of the source does."""
    _quiet_opencv()
    if options.save and options.save.exists() and options.save.resolve() == Path(options.source).resolve():
        options.parser.error(f"argument --save: {options.save} is what is watched; give another name")
    window = Window(options.source) if options.show else None
    watch = _Watch(options, source_from(options.source, options.timeout), window)
    try:
        with _terminated():
            watch.run()
    except KeyboardInterrupt:
        pass
    finally:
        watch.close()
    return 1 if watch.failed else 0


class _Watch:
    """One run: where results go, and what was counted."""

    def __init__(self, options: argparse.Namespace, source: Source, window: Window | None) -> None:
        self._options = options
        self._source = source
        self._window = window
        self._fps = options.fps or source.fps or DEFAULT_FPS
        self._recording: Recording | None = recording_to(options.save, self._fps) if options.save else None
        form = options.output or (None if options.save or options.show else "table")
        self._form = form
        self._results = Results(form or "table", "frame")
        self._status = StatusLine()
        self._started_s = time.monotonic()
        self._first_s: float | None = None
        self._recent: deque[float] = deque()
        self._frames = self._dropped = self.failed = 0
        self._last_error = ""

    def run(self) -> None:
        """Until the source ends."""
        options = self._options
        with GatewayClient(options.url, options.timeout, headers=options.headers) as client:
            results = client.stream(
                self._source,
                options.model,
                frames=options.frames,
                reconnect_s=options.reconnect,
                on_trouble=self._tell,
                **asked_of(options),
            )
            with closing(results):
                for result in results:
                    self._take(result)
                    if self._window is not None and self._window.closed:
                        return

    def close(self) -> None:
        """Finish the file and say what came of it all."""
        if self._recording is not None:
            self._recording.close()
        if self._window is not None:
            self._window.close()
        self._status.clear()
        if self._frames:
            took_s = time.monotonic() - self._started_s
            failed = f", {self.failed} failed" if self.failed else ""
            saved = f"; saved to {self._options.save}" if self._recording is not None else ""
            note(
                f"{plural(self._frames, 'frame', 'frames')} in {took_s:.1f} s, {self._frames / took_s:.1f} a second,"
                f" {self._dropped} dropped{failed}{saved}"
            )

    def _take(self, result: StreamResult) -> None:
        now_s = time.monotonic()
        if self._first_s is None:
            self._first_s = now_s
        self._frames += 1
        self._dropped += result.dropped
        if result.error is not None:
            self._fail(result)
        if self._recording is not None or self._window is not None:
            self._draw(result, now_s - self._first_s)
        if self._form is not None:
            self._write(result)
        self._status.update(self._line(result, now_s))

    def _fail(self, result: StreamResult) -> None:
        self.failed += 1
        # A camera at thirty frames a second says the same thing thirty times.
        if str(result.error) != self._last_error:
            self._last_error = str(result.error)
            self._tell(f"frame {result.frame}: {result.error}")

    def _draw(self, result: StreamResult, since_first_s: float) -> None:
        try:
            image = _drawn(result)
        except JetserveError:
            return  # no picture, as the gateway has said already
        if self._recording is not None:
            # A file has its own time, in which frames that were dropped have their place too.
            at_s = since_first_s if self._source.live else (result.frame - 1) / self._fps
            self._recording.write(image, result.frame, at_s)
        if self._window is not None:
            self._window.show(image)

    def _write(self, result: StreamResult) -> None:
        self._status.clear()
        numbered = {"frame": result.frame, "dropped": result.dropped}
        if self._form == "jsonl":
            if result.result is not None:
                say_json(numbered | result.result.to_dict())
            elif result.error is not None:
                say_json(numbered | {"error": getattr(result.error, "kind", ""), "detail": result.error.detail})
        elif result.result is not None and self._form == "csv":
            self._results.write(str(result.frame), result.result)
        elif result.result is not None:
            say(f"frame {result.frame}: {_found(result.result)}")

    def _line(self, result: StreamResult, now_s: float) -> str:
        self._recent.append(now_s)
        while now_s - self._recent[0] > RATE_OVER_S:
            self._recent.popleft()
        spent_s = now_s - self._recent[0]
        rate = (len(self._recent) - 1) / spent_s if spent_s > 0 else 0.0
        found = _counted(result.result) if result.result is not None else str(result.error)
        return f"frame {result.frame}  {rate:.1f} a second  {self._dropped} dropped  {found}"

    def _tell(self, message: str) -> None:
        self._status.clear()
        complain(message)


def _drawn(result: StreamResult) -> NDArray[np.uint8]:
    """The frame with what is on it; one that failed as it came."""
    return image_from_photo(result.image) if result.result is None else result.result.draw(result.image)


def _found(result: Result) -> str:
    return ", ".join(f"{item.label} {item.score:.2f}" for item in _items(result)) or "nothing"


def _counted(result: Result) -> str:
    """Each label once, with its best score and how often it is there."""
    counts = Counter(item.label for item in _items(result))
    best = {item.label: item.score for item in reversed(_items(result))}
    return ", ".join(
        f"{label} {best[label]:.2f}" + (f" x{count}" if count > 1 else "") for label, count in counts.items()
    )


def _items(result: Result) -> Sequence[Detection | Class]:
    return result.classes if result.classes is not None else result.detections or ()


@contextmanager
def _terminated() -> Iterator[None]:
    """Have SIGTERM, which is how a service is stopped, end it as Ctrl-C does: a video is readable only when closed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _quiet_opencv() -> None:
    """Its own warnings say in three lines what the error says in one."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


_SUFFIXES = ", ".join(CODECS)


def _save(value: str) -> Path:
    path = Path(value)
    if path.suffix and path.suffix.lower() not in CODECS:
        raise argparse.ArgumentTypeError(f"{value} must end in {_SUFFIXES}, or be a folder")
    return path


def _fps(value: str) -> float:
    rate = seconds(value)
    if rate > 1000:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of frames a second")
    return rate
