"""Golden outputs, and an engine held against them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from builder import golden as golden_module
from builder.golden import Golden, golden_from_file, golden_from_side
from builder.parity.report import ImageParity
from builder.proof import feeds_of, proof
from builder.recipes.parts import Tolerance
from builder.verify import Runner, Side
from tests.builder.recipes import write_photos
from vision.contract import Contract, contract_from_json
from vision.errors import BuildError

TOLERANCE = Tolerance(pixels=0, outputs=1e-4, score=1e-4, iou=0.99, unmatched=0, top_k=2)
Outputs = dict[str, NDArray[Any]]


@pytest.fixture(scope="module", params=["toy", "cls"])
def side(built: Path, request: pytest.FixtureRequest) -> Side:
    """A detector and a classifier, as they were built for a device."""
    folder = built / "first" / request.param / "1"
    return Side((folder / "model.onnx").read_bytes(), contract_from_json((folder / "contract.json").read_bytes()))


@pytest.fixture
def golden(side: Side, tmp_path: Path) -> Golden:
    photos = sorted(write_photos(tmp_path / "photos", 6).iterdir())
    images = [ImageParity(photo.name) for photo in photos]
    return golden_from_side(side, photos, images, TOLERANCE, is_random=False)


def ran(side: Side, feeds: Sequence[Any]) -> list[Outputs]:
    """The feeds through the ONNX, as a sound engine would run them."""
    session = Runner(side).session
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, map(np.asarray, session.run(names, dict(feed))), strict=True)) for feed in feeds]


def test_golden_outputs_are_read_as_they_were_written(golden: Golden, tmp_path: Path) -> None:
    """Every array with its dtype, the tolerances, and the same bytes each time."""
    path = tmp_path / "golden.npz"
    path.write_bytes(golden.to_bytes())
    again = golden_from_file(path)
    assert golden.to_bytes() == again.to_bytes() == path.read_bytes()
    assert again.tolerance == TOLERANCE
    for one, other in zip(golden.photos, again.photos, strict=True):
        assert one.geometry == other.geometry
        assert one.tensor.dtype == np.uint8
        np.testing.assert_array_equal(one.tensor, other.tensor)
        assert one.outputs.keys() == other.outputs.keys()
        for name, value in one.outputs.items():
            np.testing.assert_array_equal(value, other.outputs[name], strict=True)


@pytest.mark.parametrize("spoil", [lambda data: data[:-40], lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_file_that_is_not_whole_is_refused(golden: Golden, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """It may be half copied; nothing of it is believed."""
    path = tmp_path / "golden.npz"
    path.write_bytes(spoil(golden.to_bytes()))
    with pytest.raises(BuildError, match="copy or build it again"):
        golden_from_file(path)


def test_a_flipped_byte_is_refused(golden: Golden, tmp_path: Path) -> None:
    """Each part has its checksum."""
    path, data = tmp_path / "golden.npz", bytearray(golden.to_bytes())
    middle = data.index(b"0/input") + 200
    data[middle] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(BuildError, match="not whole"):
        golden_from_file(path)


def test_the_richest_photos_that_fit_are_taken(side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four at most, fewer where they are large, one in any case."""
    photos = sorted(write_photos(tmp_path / "photos", 6).iterdir())
    images = [ImageParity(photo.name) for photo in photos]
    assert len(golden_from_side(side, photos, images, TOLERANCE, is_random=False).photos) == 4
    one = golden_from_side(side, photos, images, TOLERANCE, is_random=False).photos[0].nbytes
    monkeypatch.setattr(golden_module, "MAX_BYTES", 2 * one)
    assert len(golden_from_side(side, photos, images, TOLERANCE, is_random=False).photos) == 2
    monkeypatch.setattr(golden_module, "MAX_BYTES", 1)
    assert len(golden_from_side(side, photos, images, TOLERANCE, is_random=False).photos) == 1


def test_an_engine_that_answers_as_its_onnx_is_proven(side: Side, golden: Golden) -> None:
    """Each photo alone, and all in a batch."""
    feeds = feeds_of(golden, side.contract)
    assert [len(feed["input"]) for feed in feeds] == [1, 1, 1, 1, 4]
    report = proof(golden, side.contract, ran(side, feeds))
    assert report.failures == []
    assert len(report.images) == 8


@pytest.mark.parametrize("scale", [1.02, 0.0, np.nan])
def test_wrong_answers_are_told_by_how_much(side: Side, golden: Golden, scale: float) -> None:
    """Off by a little, all zero, or not numbers at all."""
    wrong = [
        {name: value * np.float32(scale) if value.dtype == np.float32 else value for name, value in outputs.items()}
        for outputs in ran(side, feeds_of(golden, side.contract))
    ]
    report = proof(golden, side.contract, wrong)
    assert len({failure.partition(":")[0] for failure in report.failures}) == 8
    assert "tolerance" in report.summary() or "no partner" in report.summary() or "NaN" in report.summary()


def test_a_batch_that_is_answered_otherwise_is_found(side: Side, golden: Golden) -> None:
    """Rows that changed places: each photo alone is right."""
    outputs = ran(side, feeds_of(golden, side.contract))
    outputs[-1] = {name: value[::-1].copy() for name, value in outputs[-1].items()}
    report = proof(golden, side.contract, outputs)
    assert report.failures
    assert all("in a batch of 4" in failure for failure in report.failures)


def test_an_output_that_is_missing_or_of_another_shape_is_refused(side: Side, golden: Golden) -> None:
    """By its name."""
    outputs, first = ran(side, feeds_of(golden, side.contract)), side.contract.outputs[0].name
    with pytest.raises(BuildError, match=f"no output '{first}'"):
        proof(golden, side.contract, [{**outputs[0], first: None}, *outputs[1:]])  # type: ignore[dict-item]
    with pytest.raises(BuildError, match=f"'{first}' came as"):
        proof(golden, side.contract, [{**outputs[0], first: outputs[0][first][..., :1]}, *outputs[1:]])


def test_int32_answers_of_int64_are_the_same(side: Side, golden: Golden) -> None:
    """TensorRT before 10 has no INT64: the contract served says INT32 then, and the golden outputs still INT64."""
    wide = replace(
        golden,
        photos=tuple(
            replace(
                photo,
                outputs={n: v.astype(np.int64) if v.dtype == np.int32 else v for n, v in photo.outputs.items()},
            )
            for photo in golden.photos
        ),
    )
    assert proof(wide, side.contract, ran(side, feeds_of(golden, side.contract))).failures == []


def test_one_image_a_call_needs_no_batch(side: Side, golden: Golden) -> None:
    """An engine for a batch of 1 is asked for no more."""
    assert len(feeds_of(golden, _alone(side.contract))) == len(golden.photos)


def test_the_report_is_one_of_parity(side: Side, golden: Golden) -> None:
    """With its numbers and page, for `inspect`."""
    report = proof(golden, side.contract, ran(side, feeds_of(golden, side.contract)), "toy")
    assert json.loads(report.to_json())["passed"] is True
    assert "<html" in report.to_html()


def _alone(contract: Contract) -> Contract:
    return contract.model_copy(update={"max_batch": 1})
