"""What is sent to Triton to run a model, and what it answers, as bytes.

Requests are put together by hand around the pixels: tritonclient and the protobuf message copy a tensor three times
before gRPC sees it, this once (docs/04-triton.md has the figures).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from clients.triton import regions
from clients.triton.regions import Region
from vision.contract import Contract, Output
from vision.dtypes import DTYPES
from vision.errors import BackendFailure

RAW_INPUT_CONTENTS_TAG = b"\x3a"  # field 7 of ModelInferRequest, length-delimited (wire type 2): 7 << 3 | 2


def request_bytes(
    model: str,
    version: str,
    contract: Contract,
    batch: NDArray[Any],
    timeout_s: float,
    region: Region | None = None,
) -> bytes:
    """A serialised ModelInferRequest; the tensor is copied once, or not at all where it lies in a `region`.

    Protobuf allows fields in any order, so a message without its last field, then that field, is the message
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins and #order).
    """
    if batch.dtype != DTYPES[contract.input.dtype]:
        raise BackendFailure(
            f"model {model!r}: input {contract.input.name!r} is {contract.input.dtype}, got {batch.dtype}"
        )
    head = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    head.inputs.add(name=contract.input.name, datatype=contract.input.dtype, shape=batch.shape)
    head.parameters["timeout"].int64_param = max(1, int(timeout_s * 1e6))
    for output in contract.outputs:
        head.outputs.add(name=output.name)
    if region is not None:
        regions.refer(head, region, contract, batch)
        return bytes(head.SerializeToString())
    pixels = np.ascontiguousarray(batch).data
    return b"".join((head.SerializeToString(), RAW_INPUT_CONTENTS_TAG, varint(pixels.nbytes), pixels))


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit set on all but the last (protobuf's encoding of lengths)."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def outputs_from_answer(
    model: str, expected: Sequence[Output], answer: Any, region: Region | None = None
) -> dict[str, NDArray[Any]]:
    """The contract's outputs as read-only views of the answer, or of the region that has places for them.

    Raises:
        BackendFailure: an output is missing, of another dtype, or holds fewer bytes than its shape says.
    """
    contents = zip(answer.outputs, answer.raw_output_contents, strict=False)
    found = {tensor.name: (tensor, content) for tensor, content in contents}
    arrays = {}
    for output in expected:
        if output.name not in found:
            raise BackendFailure(f"model {model!r}: output {output.name!r} is missing, Triton sent {list(found)}")
        tensor, content = found[output.name]
        dtype, shape = DTYPES[output.dtype], tuple(tensor.shape)
        if tensor.datatype != output.dtype:
            raise BackendFailure(
                f"model {model!r}: output {output.name!r} is {tensor.datatype}, the contract says {output.dtype}"
            )
        if region is not None and output.name in region.layout.outputs:
            content = regions.content(region, output.name, dtype, math.prod(shape) * dtype.itemsize)
        elif len(content) != math.prod(shape) * dtype.itemsize:
            raise BackendFailure(
                f"model {model!r}: output {output.name!r} of shape {shape} came with {len(content)} bytes; "
                "is NumPy 2 in Triton's environment? Its Python backend needs numpy<2"
            )
        arrays[output.name] = np.frombuffer(content, dtype).reshape(shape)
    return arrays
