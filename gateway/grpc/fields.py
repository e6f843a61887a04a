"""A message's fields, counted on the wire: protobuf makes objects of up to forty-five times their bytes of empty ones.

The format: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from tritonclient.grpc import service_pb2

from vision.errors import InvalidArgument

MOST_FIELDS = 10_000
"""In a message and those within it. A request needs some ten, and one more for each photo sent as an element."""

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)
WIDTHS = {FIXED64: 8, GROUP: 0, END_GROUP: 0, FIXED32: 4}

Path = tuple[int, ...]
"""Numbers of fields, from the outermost."""


def _path(*names: str) -> Path:
    descriptor, numbers = service_pb2.ModelInferRequest.DESCRIPTOR, []
    for name in names:
        field = descriptor.fields_by_name[name]
        numbers.append(field.number)
        descriptor = field.message_type
    return tuple(numbers)


ENTERED = {_path("inputs"), _path("inputs", "contents"), _path("outputs")}
"""The messages within a ModelInferRequest that hold as many fields as somebody likes."""


def require_few_fields(data: bytes) -> None:
    """Nothing for a ModelInferRequest that is cheap to take apart.

    Raises:
        InvalidArgument: it has more than MOST_FIELDS, or is cut off.
    """
    for count, _ in enumerate(_fields(data, 0, len(data), ())):
        if count >= MOST_FIELDS:
            raise InvalidArgument(
                f"the message has more than {MOST_FIELDS} fields; send each photo as one element of raw_input_contents"
            )


def _fields(data: bytes, at: int, end: int, path: Path) -> Iterator[None]:
    while at < end:
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        yield
        if kind == VARINT:
            _, at = _varint(data, at, end)
            continue
        if kind == LENGTH:
            width, at = _varint(data, at, end)
        elif kind in WIDTHS:
            width = WIDTHS[kind]
        else:
            raise _cut_off(at)
        if width > end - at:
            raise _cut_off(at)
        if kind == LENGTH and (*path, number) in ENTERED:
            yield from _fields(data, at, at + width, (*path, number))
        at += width


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _cut_off(at)


def _cut_off(at: int) -> InvalidArgument:
    return InvalidArgument(f"the message is no ModelInferRequest of the Open Inference Protocol, from byte {at} on")
