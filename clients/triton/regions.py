"""Tensors in memory that Triton has mapped, too: where they lie, and how a request names them.

Triton's protocol calls such memory a region (its extension "system shared memory").
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision.contract import Contract
from vision.dtypes import DTYPES
from vision.errors import BackendFailure

ALIGNED_BYTES = 64
UNWRITTEN = 0xFF
"""In every byte of a float's place before Triton writes there: a NaN that no arithmetic makes."""


class Span(NamedTuple):
    """Bytes of a region."""

    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tensors of a call lie in a region: the batch from its first byte, then the outputs of bounded size."""

    batch_nbytes: int
    outputs: Mapping[str, Span]
    nbytes: int
    """Of all of it."""


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that Triton knows by `name`, and how one call uses it. `memory` is uint8 [n], n >= `layout.nbytes`."""

    name: str
    memory: NDArray[np.uint8]
    layout: Layout


def layout_from_contract(contract: Contract, images: int) -> Layout | None:
    """For a batch of up to `images`; None where the contract leaves the input's size open.

    Outputs whose size the contract leaves open have no place: they come with the answer.
    """
    if -1 in contract.input.shape:
        return None
    batch_nbytes = images * math.prod(contract.input.shape) * DTYPES[contract.input.dtype].itemsize
    end, outputs = batch_nbytes, {}
    for output in contract.outputs:
        if -1 in output.shape:
            continue
        offset = -(-end // ALIGNED_BYTES) * ALIGNED_BYTES
        outputs[output.name] = Span(offset, images * math.prod(output.shape) * DTYPES[output.dtype].itemsize)
        end = sum(outputs[output.name])
    return Layout(batch_nbytes, outputs, end)


def refer(message: Any, region: Region, contract: Contract, batch: NDArray[Any]) -> None:
    """Have a ModelInferRequest that names one input and its outputs take them from `region`, where `batch` lies.

    Raises:
        BackendFailure: `batch` does not begin where the region does.
    """
    if batch.ctypes.data != region.memory.ctypes.data or not batch.flags.c_contiguous:
        raise BackendFailure(f"the batch does not lie at the beginning of the region {region.name!r}")
    _place(message.inputs[0], region.name, Span(0, batch.nbytes))
    dtypes = {output.name: DTYPES[output.dtype] for output in contract.outputs}
    for output in message.outputs:
        if (span := region.layout.outputs.get(output.name)) is not None:
            _place(output, region.name, span)
            region.memory[span.offset : span.offset + dtypes[output.name].itemsize] = UNWRITTEN


def _place(tensor: Any, name: str, span: Span) -> None:
    tensor.parameters["shared_memory_region"].string_param = name
    tensor.parameters["shared_memory_offset"].int64_param = span.offset
    tensor.parameters["shared_memory_byte_size"].int64_param = span.nbytes


def content(region: Region, name: str, dtype: np.dtype[Any], nbytes: int) -> NDArray[np.uint8]:
    """The `nbytes` that Triton says it wrote for output `name`: a read-only view, good until the region is used again.

    Raises:
        BackendFailure: more than there is room for, or nothing was written.
    """
    span = region.layout.outputs[name]
    if nbytes > span.nbytes:
        raise BackendFailure(f"output {name!r} has {nbytes} bytes, the contract says {span.nbytes} at most")
    found = region.memory[span.offset : span.offset + nbytes]
    if dtype.kind == "f" and nbytes and (found[: dtype.itemsize] == UNWRITTEN).all():
        raise BackendFailure(
            f"output {name!r} was announced and not written;"
            " is NumPy 2 in Triton's environment? Its Python backend needs numpy<2"
        )
    found.flags.writeable = False
    return found
