"""A model as the ONNX and the three descriptions of mmdeploy's SDK bundle."""

import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from builder.frameworks.openmmlab.model import Trained

ONNX = "end2end.onnx"
DESCRIPTIONS = ("deploy.json", "pipeline.json", "detail.json")
BUNDLE = (ONNX, *DESCRIPTIONS)
UNKNOWN_TO_SDK = frozenset({"EfficientNetCenterCrop"})
"""Transforms that mmdeploy writes into a `pipeline.json` that its SDK then refuses to load."""


def write_bundle(trained: Trained, deploy: dict[str, Any], photo: Path, out: Path, checkpoint: str) -> None:
    """Export into `out`, with `labels.txt`; without the descriptions where the SDK has no such transform.

    Height and width are what the test pipeline makes of `photo`, which only gives the tracer something to look at.
    """
    from mmdeploy.apis import torch2onnx
    from mmdeploy.backend.sdk.export_info import export2SDK

    settings, config = Config(deploy), trained.config
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        torch2onnx(str(photo), scratch, ONNX, settings, config.copy(), str(trained.plain), device="cpu")
        names = [ONNX]
        if sdk_can(config):
            export2SDK(settings, config.copy(), scratch, pth=checkpoint, device="cpu")
            names += DESCRIPTIONS
        for name in names:
            Path(scratch, name).replace(out / name)
    (out / "labels.txt").write_text("".join(f"{label}\n" for label in trained.labels))  # mmdeploy exports none


def sdk_can(config: Config) -> bool:
    """Whether mmdeploy's SDK has all transforms of the test pipeline."""
    return not any(transform["type"] in UNKNOWN_TO_SDK for transform in config.test_pipeline)
