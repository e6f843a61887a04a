# ruff: noqa: E402 - adaptations go before imports
"""Checkpoints for the tests, as trainers of several ages write them: `python write_checkpoints.py FOLDER`."""

import sys
from pathlib import Path
from typing import Any

from builder.frameworks import adaptations

adaptations.apply()

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.utils import register_all_modules

CLASSES = tuple(f"fruit {number}" for number in range(30))


class Unknown:
    """A pickled object of a class that no trainer has."""


def main() -> None:
    folder = Path(sys.argv[1])
    register_all_modules(init_default_scope=False)
    init_default_scope("mmpretrain")
    torch.manual_seed(1)
    model = MODELS.build(
        {
            "type": "ImageClassifier",
            "backbone": {"type": "MobileNetV2"},
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "LinearClsHead", "num_classes": 30, "in_channels": 1280},
        }
    )
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics of what comes next: with none, deep layers fall silent
    model.backbone(torch.randn(8, 3, 64, 64))
    state: dict[str, Any] = model.state_dict()
    state["head.fc.weight"].mul_(10)  # else every class is as likely as every other
    # mmcls 0.x with mmcv 1: wrapped for several GPUs, averaged weights beside, the optimiser's state.
    old = {
        "meta": {"epoch": 9, "iter": 900, "mmcv_version": "1.7.0", "mmcls_version": "0.25.0", "CLASSES": CLASSES},
        "state_dict": {f"module.{key}": value for key, value in state.items()} | {"ema_head_fc_bias": torch.zeros(30)},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(old, folder / "old.pth")
    torch.save(old, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    # mmengine: the losses' history, which is more than tensors.
    history = HistoryBuffer([1.0, 0.5], [1, 1])
    hub = {"log_scalars": {"train/loss": history}, "runtime_info": {"lr": np.float64(0.1)}, "resumed_keys": {}}
    new = {"meta": {"dataset_meta": {"classes": CLASSES}}, "state_dict": state, "message_hub": hub}
    torch.save(new, folder / "new.pth")
    torch.save({**new, "hooks": Unknown()}, folder / "pickle.pth")
    torch.save({"state_dict": {**state, "head.fc.weight": torch.zeros(4, 1280)}}, folder / "four.pth")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(64, 3, 7, 7)}}, folder / "resnet.pth")
    (folder / "truncated.pth").write_bytes((folder / "new.pth").read_bytes()[:200_000])
    (folder / "page.pth").write_text("<html>404</html>")
    torch.save([1, 2], folder / "list.pth")


if __name__ == "__main__":
    main()
