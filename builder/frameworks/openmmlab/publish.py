"""A trainer's checkpoint as it is given away: weights in float16, class names, and nothing else.

    python -m builder.frameworks.openmmlab.publish work/epoch_30.pth recipes/fruit-mobilenetv2/mobilenet-v2_160_fruits

writes `mobilenet-v2_160_fruits-XXXXXXXX.pth`, named by the first digits of its SHA-256. Evaluate that file: it is the
one that is served.
"""

import argparse
import hashlib
import io
import sys
from pathlib import Path

import torch

from builder.frameworks.openmmlab.checkpoint import Weights, weights_from_file


def published(weights: Weights) -> bytes:
    """The file. Weights that float16 cannot hold stay float32."""
    state = {key: _halved(value) for key, value in weights.state.items()}
    classes = (weights.meta.get("dataset_meta") or {}).get("classes")
    file = io.BytesIO()
    torch.save({"meta": {"dataset_meta": {"classes": tuple(classes or ())}}, "state_dict": state}, file)
    return file.getvalue()


def _halved(value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    kept = half.isfinite().all() and not ((half == 0) & (value != 0)).any()
    return half if kept else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="path and name, without the digits and .pth")
    arguments = parser.parse_args()
    data = published(weights_from_file(arguments.checkpoint))
    path = arguments.out.with_name(f"{arguments.out.name}-{hashlib.sha256(data).hexdigest()[:8]}.pth")
    path.write_bytes(data)
    sys.stdout.write(f"{path} ({len(data):,} bytes)\n")


if __name__ == "__main__":
    main()
