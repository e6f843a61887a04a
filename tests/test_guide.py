"""The build guide's examples are what the builder reads."""

import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from builder.recipes.parts import Parity, Serve
from builder.sources import Settings

GUIDE = Path(__file__).parents[1] / "docs/guides/build.md"
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)]
SOURCES = [block["source"] for block in BLOCKS if block["source"]]
KINDS = {"openmmlab", "pytorch-ssd", "torchvision", "yolo", "sdk-bundle", "onnx"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source["kind"]))
def test_every_example_is_read(source: dict[str, object]) -> None:
    """Field by field, as a recipe would be, but for whether the files are there."""
    settings: TypeAdapter[object] = TypeAdapter(Settings)
    settings.validate_json(json.dumps(source))


def test_every_kind_has_an_example() -> None:
    """And the frame around them is a recipe's."""
    assert {str(source["kind"]) for source in SOURCES} == KINDS
    Serve.model_validate_json(json.dumps(BLOCKS[0]["serve"]))
    Parity.model_validate_json(json.dumps(BLOCKS[0]["parity"]))
