"""The contract refuses what it does not fully understand, and says where."""

import json
from typing import Any

import pytest

from tests.vision.contracts import classifier, detector
from vision.contract import (
    CenterCrop,
    Contract,
    Normalise,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    ToRgb,
    contract_from_json,
)
from vision.errors import ContractError

EVERY_STEP = detector(
    ResizeStretch(size_hw=(9, 8), interpolation="area", library="opencv"),
    ResizeKeepRatio(long_edge=9, short_edge=8, rounding="mmcv", interpolation="nearest", library="opencv"),
    ResizeShorterEdge(edge=9, rounding="mmdeploy", interpolation="lanczos", library="pillow"),
    CenterCrop(size_hw=(4, 5), rounding="half_up"),
    PadToSize(size_hw=(32, 32), value=(1, 2, 3)),
    PadToDivisor(divisor=32, value=(1.5, 2, 3)),
    ToRgb(),
    Normalise(mean=(1, 2, 3), std=(4, 5, 6)),
)


@pytest.mark.parametrize(
    "contract", [EVERY_STEP, detector(), classifier()], ids=["every step", "detector", "classifier"]
)
def test_there_and_back(contract: Contract) -> None:
    """One line of JSON holds the whole contract, and reads back equal."""
    text = contract.to_json()
    assert "\n" not in text
    assert contract_from_json(text) == contract


def fields(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every named field in a JSON document."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in [(*path, key), *fields(item, (*path, key))]]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in fields(item, (*path, index))]
    return []


DOCUMENT = json.loads(EVERY_STEP.to_json())


@pytest.mark.parametrize("path", [p for p in fields(DOCUMENT) if "tools" not in p[:-1] and p != ("decode",)], ids=str)
def test_nothing_has_a_default(path: tuple[str | int, ...]) -> None:
    """Whichever field is left out, the contract is refused and the message names it; only what tells kinds apart
    (`op`, `head`) could be guessed, and is not.
    """
    document = json.loads(json.dumps(DOCUMENT))
    part = document
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    with pytest.raises(ContractError, match=f"{path[-1]}|Unable to extract tag"):
        contract_from_json(json.dumps(document))


@pytest.mark.parametrize("path", [(), ("input",), ("postprocess",), ("preprocess", 0), ("provenance",), ("outputs", 0)])
def test_unknown_fields_are_refused(path: tuple[str | int, ...]) -> None:
    """A field of a newer builder's is an error that names it, at every level."""
    document = json.loads(json.dumps(DOCUMENT))
    part = document
    for key in path:
        part = part[key]
    part["gamma"] = 2.2
    with pytest.raises(ContractError, match="gamma"):
        contract_from_json(json.dumps(document))


def changed(contract: Contract, **changes: Any) -> str:
    return json.dumps({**json.loads(contract.to_json()), **changes})


NORMALISE = {"op": "normalise", "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "contract: Invalid JSON"),
        (changed(detector(), schema_version=2), "schema_version"),
        (changed(detector(), task="classification"), "head 'mmdet' does detection"),
        (changed(detector(), labels=[]), "labels"),
        (changed(detector(), max_batch=0), "max_batch"),
        (changed(detector(), outputs=[{"name": "dets", "dtype": "FP32", "shape": [1, 5]}]), r"reads \['labels'\]"),
        (
            changed(detector(), input={"name": "i", "dtype": "UINT8", "layout": "NHWC", "shape": [3, 9, 9]}),
            "9 channels",
        ),
        (changed(detector(), input={"name": "i", "dtype": "UINT8", "layout": "NHWC", "shape": [0, 9, 3]}), "positive"),
        (changed(detector(), preprocess=[NORMALISE]), "UINT8 must have none"),
        (changed(detector(), preprocess=[{"op": "to_rgb"}, {"op": "to_rgb"}]), "to_rgb twice"),
        (changed(detector(), preprocess=[{"op": "to_rgb"}], in_graph=[{"op": "to_rgb"}]), "done twice"),
        (changed(detector(), preprocess=[{"op": "solarise"}]), "solarise"),
        (changed(detector(), preprocess=[{**NORMALISE, "std": [1, 0, 1]}]), "std"),
        (changed(detector(), in_graph=[{**NORMALISE, "mean": [0, 0]}]), "mean"),
    ],
)
def test_contradictions_are_named(text: str, message: str) -> None:
    """What cannot be served is refused when it is read, with the field and the reason."""
    with pytest.raises(ContractError, match=message):
        contract_from_json(text)
