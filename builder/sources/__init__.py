"""The kinds of source that a recipe can name."""

from typing import Annotated

from pydantic import Field

from builder.sources.onnx import OnnxSource
from builder.sources.openmmlab import OpenMMLab
from builder.sources.pytorch_ssd import PytorchSsdSource
from builder.sources.sdk_bundle import SdkBundleSource
from builder.sources.torchvision import TorchvisionSource
from builder.sources.yolo import YoloSource

Settings = Annotated[
    OpenMMLab | PytorchSsdSource | TorchvisionSource | YoloSource | OnnxSource | SdkBundleSource,
    Field(discriminator="kind"),
]
"""`source` of a recipe."""
