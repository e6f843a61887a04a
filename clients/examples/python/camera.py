"""Sends a camera's frames over one gRPC stream, and prints what is found on each.

python camera.py HOST:PORT MODEL SOURCE       SOURCE: the number of a camera, a video file, an rtsp:// address

At most two frames are on their way, one in work and the next. What a camera shows meanwhile is left out, so that no
answer is about an old frame; of a file every frame is sent.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Semaphore
from typing import NoReturn

import cv2
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException

ON_THE_WAY = 2
ANSWER_S = 30


def frames_bgr(source: str) -> Iterator[cv2.typing.MatLike]:
    """One by one, until the source ends."""
    video = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not video.isOpened():
        sys.exit(f"{source} does not open; expected the number of a camera, a video file or an rtsp:// address")
    while (read := video.read())[0]:
        yield read[1]
    video.release()


def show(result: InferResult | None, error: InferenceServerException | None) -> None:
    """A line for each finding, with the number of its frame. An answer may be an error; the stream goes on."""
    if result is None:
        print(error, file=sys.stderr)
        return
    frame = result.get_response().id
    scores, labels, boxes = (result.as_numpy(name) for name in ("scores", "labels", "boxes"))
    for index in range(result.as_numpy("counts")[0]):
        box = [] if boxes is None else [f"{value:.2f}" for value in boxes[0, index]]  # a classifier has none
        print(f"{frame}:", labels[0, index].decode(), f"{scores[0, index]:.5f}", *box, flush=True)


def watch(client: InferenceServerClient, model: str, source: str) -> None:
    """Until the source ends and all its frames are answered.

    Raises:
        InferenceServerException: the stream has ended, which `show` was told.
        TimeoutError: it is silent.
    """
    room = Semaphore(ON_THE_WAY)

    def answered(result: InferResult | None, error: InferenceServerException | None) -> None:
        show(result, error)
        room.release()

    def leave() -> NoReturn:
        client.stop_stream(cancel_requests=True)
        raise TimeoutError(f"no answer within {ANSWER_S} s")

    client.start_stream(answered)
    live = not Path(source).is_file()
    sent_s = time.monotonic()
    for number, frame_bgr in enumerate(frames_bgr(source), start=1):
        if not room.acquire(timeout=0 if live else ANSWER_S):
            if live and time.monotonic() < sent_s + ANSWER_S:
                continue
            leave()
        image = InferInput("image", [1], "BYTES")
        image.set_data_from_numpy(np.array([cv2.imencode(".jpg", frame_bgr)[1].tobytes()], np.object_))
        client.async_stream_infer(model, [image], request_id=str(number), parameters={"frames": "every"})
        sent_s = time.monotonic()
    if not all(room.acquire(timeout=ANSWER_S) for _ in range(ON_THE_WAY)):
        leave()
    client.stop_stream()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT MODEL SOURCE")
    address, model, source = sys.argv[1:]
    with InferenceServerClient(address) as client:
        try:
            watch(client, model, source)
        except (InferenceServerException, TimeoutError) as exc:
            sys.exit(str(exc))
