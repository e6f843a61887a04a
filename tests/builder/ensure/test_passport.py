"""Why an engine does not fit, in plain words."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from builder.engines.jobs import ShapeRange
from builder.passport import Passport, Shapes, compare, passport_from_file, same_version
from builder.recipes.parts import Precision


@dataclass(frozen=True)
class Board:
    tensorrt: str | None = "10.3.0"
    cuda: str | None = "12.6"
    l4t: str | None = "36.4.3"
    gpu: str | None = "Orin"
    compute_capability: str | None = "8.7"


@dataclass(frozen=True)
class Wish:
    onnx_sha256: str = "a" * 64
    precision: Precision = "fp16"
    profiles: dict[str, ShapeRange] = field(
        default_factory=lambda: {"input": ShapeRange((1, 32, 48, 3), (1, 32, 48, 3), (8, 32, 48, 3))}
    )


PASSPORT = Passport(
    onnx_sha256="a" * 64,
    engine_sha256="b" * 64,
    golden_sha256="c" * 64,
    proof="4 images agree",
    precision="fp16",
    profiles={"input": Shapes(min=(1, 32, 48, 3), opt=(1, 32, 48, 3), max=(8, 32, 48, 3))},
    outputs={"dets": "FP32"},
    dla_core=None,
    tensorrt="10.3.0",
    cuda="12.6",
    l4t="36.4.3",
    gpu="Orin",
    compute_capability="8.7",
    builder="0.1",
    created="2026-11-21T12:00:00+00:00",
    seconds=61.5,
    workspace_bytes=2**30,
)


def test_an_engine_that_fits_has_no_reasons() -> None:
    """Nothing is built anew for nothing."""
    assert compare(PASSPORT, Board(), Wish()) == []
    assert compare(PASSPORT, Board(), None) == []


@pytest.mark.parametrize(
    ("board", "wish", "core", "words"),
    [
        (replace(Board(), tensorrt="8.6.2"), Wish(), None, ["TensorRT 10.3.0", "8.6.2"]),
        (replace(Board(), tensorrt=None), Wish(), None, ["TensorRT 10.3.0", "not known"]),
        (replace(Board(), cuda="12.2"), Wish(), None, ["CUDA 12.6", "12.2"]),
        (replace(Board(), l4t="36.3.0"), Wish(), None, ["L4T 36.4.3", "36.3.0"]),
        (replace(Board(), gpu="Xavier", compute_capability="7.2"), Wish(), None, ["Orin", "8.7", "Xavier", "7.2"]),
        (replace(Board(), compute_capability="8.6"), Wish(), None, ["8.7", "8.6"]),
        (Board(), Wish(onnx_sha256="d" * 64), None, ["aaaaaaaaaaaa", "dddddddddddd"]),
        (Board(), Wish(precision="int8"), None, ["fp16", "int8"]),
        (Board(), Wish(profiles={}), None, ["8x32x48x3", "one fixed shape"]),
        (Board(), Wish(), 1, ["the GPU", "DLA core 1"]),
    ],
)
def test_each_difference_is_a_reason_of_its_own(board: Board, wish: Wish, core: int | None, words: list[str]) -> None:
    """What it was built for, and what is here."""
    reasons = compare(PASSPORT, board, wish, core)
    assert len(reasons) == 1
    for word in words:
        assert word in reasons[0]


def test_versions_that_say_more_or_less_are_the_same() -> None:
    """The package says 10.3.0.30, the module 10.3.0; 10.30 is another."""
    assert same_version("10.3.0", "10.3.0.30")
    assert not same_version("10.3.0", "10.30.0")
    assert not same_version("10.3", None)
    assert same_version(None, None)


def test_a_passport_is_read_as_it_was_written(tmp_path: Path) -> None:
    """And what is none, or has fields of another builder, is no passport: its engine is built anew."""
    path = tmp_path / "passport.json"
    assert passport_from_file(path) is None
    path.write_text(PASSPORT.to_json())
    assert passport_from_file(path) == PASSPORT
    path.write_text(PASSPORT.to_json().replace('"seconds"', '"hours"'))
    assert passport_from_file(path) is None
    path.write_bytes(PASSPORT.to_json().encode()[:100])
    assert passport_from_file(path) is None
