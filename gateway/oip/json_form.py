"""The protocol's JSON, and Triton's binary extension of it: tensors as bytes behind the JSON.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from clients.echo import quoted
from gateway.oip.inference import InferAnswer, InferRequest
from gateway.oip.tensors import BYTES, InputTensor
from vision.errors import InvalidArgument

SIZE, BINARY, ALL_BINARY, ENCODING = "binary_data_size", "binary_data", "binary_data_output", "content_encoding"
BASE64 = "base64"
"""JSON holds no bytes: an input's parameter `content_encoding` says that its elements are base64 (RFC 4648)."""
SEPARATORS, MOST_VALUES = (b",", b"[", b"{"), 10_000
"""Before each value of JSON but the first stands one; a request needs some ten, and one more for each photo."""


def request_from_body(model: str, version: str, body: bytes, header_bytes: int | None) -> tuple[InferRequest, set[str]]:
    """The request, and the names of the outputs that are wanted as bytes ("*" is all).

    `header_bytes` is how much of the body is JSON, where tensors follow it.

    Raises:
        InvalidArgument: the body is no such request.
    """
    if header_bytes is not None and not 0 < header_bytes <= len(body):
        raise InvalidArgument(f"the JSON is to be {header_bytes} bytes long, and the body has {len(body)}")
    head = body if header_bytes is None else body[:header_bytes]
    tail = _Tail(b"" if header_bytes is None else body[header_bytes:])
    fields = _object(_parsed(head), "the body")
    parameters = dict(_parameters(fields, "the request"))
    outputs = [_object(output, "an output") for output in _list(fields, "outputs")]
    all_binary = _flag(parameters.pop(ALL_BINARY, False), ALL_BINARY)
    binary = {_text(output, "name") for output in outputs if _wanted_binary(output, all_binary)}
    request = InferRequest(
        model=model,
        version=version,
        id=_text(fields, "id", ""),
        parameters=parameters,
        inputs=[_input(_object(tensor, "an input"), tail) for tensor in _list(fields, "inputs")],
        outputs=[_text(output, "name") for output in outputs],
    )
    tail.require_empty()
    return request, binary if outputs or not all_binary else {"*"}


def ready_from_body(body: bytes) -> bool:
    """Whether the index is asked for models that are ready alone; an empty body asks for all.

    Raises:
        InvalidArgument: the body is no JSON object, or its `ready` neither true nor false.
    """
    return _flag(_object(_parsed(body or b"{}"), "the body").get("ready", False), "ready")


def body_from_answer(answer: InferAnswer, binary: set[str]) -> tuple[bytes, int | None]:
    """The answer, and how much of it is JSON where bytes follow."""
    outputs, raws = [], []
    for tensor in answer.outputs:
        described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if "*" in binary or tensor.name in binary:
            raws.append(tensor.raw())
            outputs.append(described | {"parameters": {SIZE: len(raws[-1])}})
        else:
            outputs.append(described | {"data": tensor.plain()})
    identity = {"id": answer.id} if answer.id else {}
    fields = {"model_name": answer.model, "model_version": answer.version} | identity | {"outputs": outputs}
    head = json.dumps(fields).encode()
    return b"".join((head, *raws)), len(head) if raws else None


class _Tail:
    """What follows the JSON, taken tensor by tensor."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: object, name: str) -> bytes:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._data) - self._at:
            raise InvalidArgument(
                f"{SIZE} of the input {quoted(name)} is {quoted(size)}, and {len(self._data) - self._at} bytes are left"
                " behind the JSON; the header Inference-Header-Content-Length says where they begin"
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def require_empty(self) -> None:
        if self._at != len(self._data):
            raise InvalidArgument(
                f"{len(self._data) - self._at} bytes behind the JSON belong to no input; give each its {SIZE}"
            )


def _input(fields: Mapping[str, Any], tail: _Tail) -> InputTensor:
    name, datatype = _text(fields, "name"), _text(fields, "datatype")
    shape = _list(fields, "shape")
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in shape):
        raise InvalidArgument(f"the shape of the input {quoted(name)} is {quoted(shape)}; expected whole numbers")
    parameters = dict(_parameters(fields, f"the input {quoted(name)}"))
    encoding = parameters.pop(ENCODING, None)
    content: bytes | Sequence[bytes] = []
    if SIZE in parameters:
        if fields.get("data") is not None:
            raise InvalidArgument(f'the input {quoted(name)} has both "data" and "{SIZE}"; send its values once')
        content = tail.take(parameters.pop(SIZE), name)
    elif datatype == BYTES:  # of others the values are not looked at: they are refused by their datatype
        content = _decoded(name, _flat(fields.get("data")), encoding)
    return InputTensor(name, datatype, tuple(shape), content, parameters)


def _decoded(name: str, elements: Sequence[object], encoding: object) -> list[bytes]:
    if encoding != BASE64:
        raise InvalidArgument(
            f"the input {quoted(name)} holds its photos as text in JSON; encode each in base64 and say so with the"
            f' parameter "{ENCODING}": "{BASE64}" of the input, or send their bytes behind the JSON with "{SIZE}"'
        )
    for element in elements:
        if not isinstance(element, str):
            raise InvalidArgument(
                f"the data of the input {quoted(name)} holds {quoted(element)}; expected base64, as text"
            )
    try:
        return [base64.b64decode(str(element), validate=True) for element in elements]
    except (binascii.Error, ValueError) as exc:
        raise InvalidArgument(f"the data of the input {quoted(name)} is not base64: {exc}") from exc


def _flat(data: object) -> list[object]:
    if not isinstance(data, list):
        return [] if data is None else [data]
    return [element for row in data for element in (row if isinstance(row, list) else [row])]


def _wanted_binary(output: Mapping[str, Any], otherwise: bool) -> bool:
    parameters = dict(_parameters(output, "an output"))
    binary = _flag(parameters.pop(BINARY, otherwise), BINARY)
    if parameters:
        raise InvalidArgument(
            f"the output {quoted(output.get('name'))} has the parameters {quoted(', '.join(parameters))}, which are not"
            " served: top_k is a parameter of the request, and outputs are in the answer"
        )
    return binary


def _parsed(head: bytes) -> object:
    if sum(map(head.count, SEPARATORS)) > MOST_VALUES:  # each would cost twenty times its bytes once it is parsed
        raise InvalidArgument(
            f"the JSON holds more than {MOST_VALUES} values; send a photo's file as one text in base64 or as bytes"
            " behind the JSON, and not its pixels"
        )
    try:
        return json.loads(head)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(
            f"the body is not JSON: {exc}. Where bytes follow the JSON, the header Inference-Header-Content-Length says"
            " how long it is"
        ) from exc


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is {quoted(value)}; expected a JSON object")
    return value


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise InvalidArgument(f"{name} is {quoted(value)}; expected a JSON array")
    return value


def _parameters(fields: Mapping[str, Any], whose: str) -> Mapping[str, Any]:
    return _object(fields.get("parameters", {}), f"parameters of {whose}")


def _text(fields: Mapping[str, Any], name: str, otherwise: str | None = None) -> str:
    value = fields.get(name, otherwise)
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is {'missing' if value is None else quoted(value)}; expected text")
    return value


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name} is {quoted(value)}; expected true or false")
    return value
