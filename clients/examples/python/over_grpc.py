"""Asks a model over gRPC with `tritonclient.grpc`, and prints label, score and box of all that it finds.

python over_grpc.py HOST:PORT MODEL PHOTO
"""

import sys
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException


def infer(client: InferenceServerClient, model: str, photo: Path) -> InferResult:
    """The photo goes as its file is: one element of type BYTES."""
    image = InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([photo.read_bytes()], np.object_))
    return client.infer(model, [image], parameters={"score_threshold": 0.4}, client_timeout=30)


def show(result: InferResult) -> None:
    """A line for each finding; a classifier has no boxes."""
    scores, labels, boxes = (result.as_numpy(name) for name in ("scores", "labels", "boxes"))
    for index in range(result.as_numpy("counts")[0]):
        box = [] if boxes is None else boxes[0, index]
        print(f"{labels[0, index].decode()} {scores[0, index]:.5f}", *(f"{value:.2f}" for value in box))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT MODEL PHOTO")
    address, model, photo = sys.argv[1:]
    with InferenceServerClient(address) as client:
        try:
            show(infer(client, model, Path(photo)))
        except (InferenceServerException, OSError) as exc:
            sys.exit(str(exc))
