"""The model without a server around it: photo in, boxes out. What every peer serves, and the bare loop runs.

Stands on NumPy, OpenCV and ONNX Runtime alone, because it runs in the peers' environment. Written for speed, as
somebody would who serves this one model by hand.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

SIDE = 320
GREY = 114
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
SCORE_THRESHOLD = 0.3
LABELS = ("person",)
INPUT, OUTPUTS = "input", ("dets", "labels")

Box = dict[str, Any]
"""`label`, `score`, and `box`: left, top, right, bottom in pixels of the photo."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a photo lies in the network's input: its size (width, height), and network pixels per photo pixel."""

    size_wh: tuple[int, int]
    scale_xy: tuple[float, float]


def session(model: str, threads: int) -> onnxruntime.InferenceSession:
    """With `threads` threads, which stop spinning when a run ends: a server's other threads are on the same cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def prepared(encoded: bytes, out_chw: NDArray[np.float32]) -> Placed:
    """Decode, resize to fit, pad with grey and normalise into `out_chw`, [3, SIDE, SIDE]."""
    photo = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if photo is None:
        raise ValueError("expected a photo, got bytes that OpenCV does not decode")
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    inner_w, inner_h = int(width * scale + 0.5), int(height * scale + 0.5)
    resized = cv2.resize(photo, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
    for plane, mean, std, out in zip(cv2.split(resized), MEAN_BGR, STD_BGR, out_chw, strict=True):
        inner = out[:inner_h, :inner_w]
        np.subtract(plane, np.float32(mean), out=inner)
        np.divide(inner, np.float32(std), out=inner)
        out[inner_h:] = out[:, inner_w:] = (np.float32(GREY) - np.float32(mean)) / np.float32(std)
    return Placed((width, height), (inner_w / width, inner_h / height))


def batch_from_photos(photos: Sequence[bytes]) -> tuple[NDArray[np.float32], list[Placed]]:
    """[n, 3, SIDE, SIDE], and where each photo lies."""
    batch = np.empty((len(photos), 3, SIDE, SIDE), np.float32)
    return batch, [prepared(photo, out) for photo, out in zip(photos, batch, strict=True)]


def boxes_from_outputs(dets: NDArray[np.float32], label_ids: NDArray[np.int64], placed: Placed) -> list[Box]:
    """Best first, of `dets` [k, 5] and `label_ids` [k] of one photo; clipped to it."""
    kept = np.flatnonzero(dets[:, 4] > SCORE_THRESHOLD)
    kept = kept[np.argsort(-dets[kept, 4], kind="stable")]
    corners = dets[kept, :4] / np.array(placed.scale_xy * 2, np.float32)
    width, height = placed.size_wh
    corners = np.clip(corners, 0, np.array([width, height, width - 1, height - 1], np.float32))
    rows = zip(label_ids[kept].tolist(), dets[kept, 4].tolist(), corners.tolist(), strict=True)
    return [{"label": LABELS[label], "score": score, "box": box} for label, score, box in rows]


class Detector:
    """One session of ONNX Runtime between the two."""

    def __init__(self, model: str, threads: int) -> None:
        cv2.setNumThreads(1)
        self._session = session(model, threads)

    def __call__(self, photos: Sequence[bytes]) -> list[list[Box]]:
        """The boxes on each photo, all run as one batch."""
        batch, places = batch_from_photos(photos)
        dets, label_ids = self._session.run(OUTPUTS, {INPUT: batch})
        return [boxes_from_outputs(*each) for each in zip(dets, label_ids, places, strict=True)]


def detector_from_environment() -> Detector:
    """As the benchmark starts a peer: PEER_MODEL is a file, PEER_THREADS a number."""
    return Detector(os.environ["PEER_MODEL"], int(os.environ["PEER_THREADS"]))
