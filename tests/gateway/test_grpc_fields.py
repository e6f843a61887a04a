"""Messages that are made to cost memory are refused before they do."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from gateway.grpc.fields import MOST_FIELDS, require_few_fields
from gateway.grpc.messages import message_from_bytes
from tests.gateway.photos import BALLOONS
from vision.errors import InvalidArgument


def photo_request() -> Any:
    """With every kind of field that a request has."""
    request = service_pb2.ModelInferRequest(model_name="balloon", id="7")
    image = request.inputs.add(name="image", datatype="BYTES", shape=[1])
    image.contents.bytes_contents.append(BALLOONS.read_bytes())
    image.contents.fp32_contents.extend([1.0] * 100_000)
    image.parameters["binary_data_size"].int64_param = -1
    request.parameters["score_threshold"].double_param = 0.5
    request.outputs.add(name="boxes").parameters["classification"].bool_param = True
    request.raw_input_contents.append(bytes(100_000))
    return request


def test_a_request_is_taken_as_it_is() -> None:
    """Bytes and packed numbers are one field, however long."""
    request = photo_request()
    assert message_from_bytes(request.SerializeToString()) == request


def field(number: int, content: bytes = b"") -> bytes:
    length = len(content)
    size = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
    return bytes([number << 3 | 2]) + size + content


@pytest.mark.parametrize("wrapping", [(), (5,), (5, 5), (6,)])
@pytest.mark.parametrize("number", [4, 5, 6, 7, 8])
def test_many_fields_are_too_many_wherever_they_are(wrapping: tuple[int, ...], number: int) -> None:
    """In the request, its inputs, their contents, its outputs; half of them are not."""

    def made(count: int) -> bytes:
        data = field(number) * count
        for outer in reversed(wrapping):
            data = field(outer, data)
        return data

    require_few_fields(made(MOST_FIELDS // 2))
    with pytest.raises(InvalidArgument, match="more than 10000 fields; send each photo as one element"):
        message_from_bytes(made(MOST_FIELDS + 1))


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x0a", b"\x0a\x05abcd", b"\x2a\x02\x0a\x05abcde", b"\x0f", b"\x09abc", b"\xff" * 11]
)
def test_what_is_cut_off_is_told(data: bytes) -> None:
    """As protobuf would."""
    with pytest.raises(InvalidArgument, match="the message is no ModelInferRequest of the Open Inference Protocol"):
        message_from_bytes(data)


@pytest.mark.parametrize("length", range(0, 130, 7))
def test_what_protobuf_takes_is_taken_and_nothing_else(length: int) -> None:
    """Cut anywhere, the two are of one mind."""
    request = photo_request()
    request.inputs[0].contents.Clear()
    del request.raw_input_contents[:]
    data = request.SerializeToString()[:length]
    try:
        service_pb2.ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(InvalidArgument):
            message_from_bytes(data)
    else:
        message_from_bytes(data)
