"""A graph that takes any size is served with the one size its photos have."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from builder.graphs.size import size_from_steps
from tests.builder.conftest import Importer
from tests.builder.networks import SIZE_HW, detector
from vision.contract import (
    CenterCrop,
    Normalise,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeStretch,
    Step,
    ToRgb,
    contract_from_json,
)

Bundle = Callable[..., Path]

KEEP = ResizeKeepRatio(long_edge=320, short_edge=320, rounding="mmcv", interpolation="bilinear", library="opencv")
PAD = PadToSize(size_hw=(320, 416), value=(114, 114, 114))
STRETCH = ResizeStretch(size_hw=(64, 48), interpolation="bilinear", library="opencv")
CROP = CenterCrop(size_hw=(32, 24), rounding="half_even")
COLOURS = Normalise(mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.parametrize(
    ("steps", "size_hw"),
    [
        ((KEEP, PAD, ToRgb(), COLOURS), (320, 416)),
        ((STRETCH,), (64, 48)),
        ((STRETCH, CROP), (32, 24)),
        ((PAD, KEEP), None),
        ((KEEP, PadToDivisor(divisor=32, value=(0, 0, 0))), None),
        ((COLOURS,), None),
    ],
)
def test_the_last_step_that_moves_pixels_decides(steps: tuple[Step, ...], size_hw: tuple[int, int] | None) -> None:
    """Height and width are known where it makes all photos alike, and not where it leaves them their shape."""
    assert size_from_steps(steps) == size_hw


def test_an_open_size_is_settled_at_import(importer: Importer, bundle_with: Bundle) -> None:
    """Graph, contract and config have the size that preprocessing makes, and the import says so."""
    version = importer(bundle_with(detector(size_hw=("height", "width")))).folder / "1"
    contract = contract_from_json((version / "contract.json").read_bytes())
    assert contract.input.size_hw == SIZE_HW
    [entry] = onnx.load(version / "model.onnx").graph.input
    assert [side.dim_value for side in entry.type.tensor_type.shape.dim[1:]] == list(contract.input.shape)
    assert f"dims: [{', '.join(map(str, contract.input.shape))}]" in (version / "config.pbtxt").read_text()
    assert any("gets 32x48 only" in line for line in importer.said), importer.said
