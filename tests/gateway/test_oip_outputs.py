"""Findings as tensors: what fills up, and the figures of the JSON answer to the last bit."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.oip.outputs import output_descriptions, tensors_from_prediction
from gateway.oip.tensors import OutputTensor, elements_from_raw, raw_from_elements
from gateway.predictor import Finding, Prediction
from tests.tiny_models import colour_contract, spot_contract
from vision.errors import InvalidArgument
from vision.heads import Classification, Detections


def detections(*boxes_and_scores: tuple[float, ...]) -> Detections:
    rows = np.array(boxes_and_scores, np.float32).reshape(-1, 5)
    return Detections(rows[:, :4], rows[:, 4], np.zeros(len(rows), np.int64))


def tensors(contract: Any, *found: Detections | Classification) -> dict[str, OutputTensor]:
    findings = [Finding(None, (64, 320), each) for each in found]
    return tensors_from_prediction(Prediction("m", "1", contract, findings))


def array(tensor: OutputTensor) -> NDArray[Any]:
    assert isinstance(tensor.values, np.ndarray)
    return tensor.values


def test_photos_with_less_on_them_are_filled_up() -> None:
    """With 0 for boxes and scores, -1 for the label and no text for its name; `counts` says where that begins."""
    found = tensors(spot_contract(), detections((1, 2, 3, 4, 0.5), (5, 6, 7, 8, 0.25)), detections(), detections())
    assert array(found["counts"]).tolist() == [2, 0, 0]
    assert array(found["boxes"]).tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[0] * 4] * 2, [[0] * 4] * 2]
    assert array(found["scores"]).tolist() == [[0.5, 0.25], [0, 0], [0, 0]]
    assert array(found["label_ids"]).tolist() == [[0, 0], [-1, -1], [-1, -1]]
    assert found["labels"].values == [b"spot", b"spot", b"", b"", b"", b""]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_sent_is_what_is_described(count: int) -> None:
    """Names, datatypes and the sides that are not open; for detectors and classifiers."""
    boxes = detections(*[(1, 2, 3, 4, 0.5)] * count)
    classes = Classification(np.zeros(count, np.float32), np.zeros(count, np.int64))
    for contract, found in ((spot_contract(), boxes), (colour_contract(), classes)):
        sent, described = tensors(contract, found, found), output_descriptions(contract.task)
        assert list(sent) == list(described)
        for tensor, (datatype, shape) in zip(sent.values(), described.values(), strict=True):
            assert tensor.datatype == datatype
            assert len(tensor.shape) == len(shape)
            assert all(side in (-1, has) for side, has in zip(shape, tensor.shape, strict=True))
            values = tensor.values
            assert (values.size if isinstance(values, np.ndarray) else len(values)) == np.prod(tensor.shape)


def test_figures_are_those_of_the_json_answer() -> None:
    """Rounded as there, then float32: whoever asks twice, by two transports, gets equal numbers."""
    found = tensors(spot_contract(), detections((10.123456, 20.987654, 300.55555, 63.99999, 0.123456789)))
    assert array(found["boxes"]).ravel().tolist() == np.array([10.12, 20.99, 300.56, 64.0], np.float32).tolist()
    assert array(found["scores"]).ravel().tolist() == [np.float32(0.12346)]
    assert found["boxes"].plain() == [10.12, 20.99, 300.56, 64.0]
    assert found["scores"].plain() == [0.12346]


def test_labels_are_utf_8() -> None:
    """On the wire as bytes, in JSON as text."""
    tensor = OutputTensor("labels", "BYTES", (1, 2), ["Fußgänger".encode(), b""])
    assert tensor.plain() == ["Fußgänger", ""]
    assert elements_from_raw(tensor.raw(), (1, 2)) == tensor.values


def test_elements_follow_their_length() -> None:
    """Four bytes, little-endian."""
    assert raw_from_elements([b"ab", b""]) == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"
    assert elements_from_raw(b"", (0,)) == []


@pytest.mark.parametrize(
    ("raw", "shape", "said"),
    [
        (b"\x05\x00\x00\x00ab", (1,), "element 1 of a BYTES tensor is to end at byte 9, and the tensor has 6"),
        (b"\x00\x00", (1,), "element 1 .* to end at byte 4, and the tensor has 2"),
        (b"\x00\x00\x00\x00" * 3, (2,), "holds more than 2 elements"),
        (b"\x00\x00\x00\x00", (2,), "holds only 1 elements"),
    ],
)
def test_elements_that_do_not_fit_their_shape_are_refused(raw: bytes, shape: tuple[int, ...], said: str) -> None:
    """Before anything is made of them."""
    with pytest.raises(InvalidArgument, match=said):
        elements_from_raw(raw, shape)
