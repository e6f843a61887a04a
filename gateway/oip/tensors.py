"""Tensors in the protocol's words, and the bytes they are on the wire."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.echo import quoted
from vision.dtypes import DTYPES
from vision.errors import InvalidArgument

BYTES = "BYTES"
LENGTH_BYTES = 4
"""Before each element of BYTES stands its length, little-endian."""

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InputTensor:
    """An input as it came: `content` is raw, as `raw_from_elements` writes it, or the elements one by one."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes | Sequence[bytes]
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class OutputTensor:
    """An output: an array of the datatype and shape; for BYTES the elements, one row after the other."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | Sequence[bytes]

    def raw(self) -> bytes:
        """Little-endian, one row after the other."""
        if isinstance(self.values, np.ndarray):
            return self.values.astype(DTYPES[self.datatype], copy=False).tobytes()
        return raw_from_elements(self.values)

    def plain(self) -> list[Any]:
        """The values for JSON, flat: text for BYTES; of FP32 the shortest decimals that are the same float32."""
        if not isinstance(self.values, np.ndarray):
            return [element.decode() for element in self.values]
        if self.datatype == "FP32":
            return [float(str(value)) for value in self.values.ravel()]
        return list(self.values.ravel().tolist())


def raw_from_elements(elements: Sequence[bytes]) -> bytes:
    """The elements of a BYTES tensor, each after its length."""
    return b"".join(part for element in elements for part in (len(element).to_bytes(LENGTH_BYTES, "little"), element))


def elements_from_raw(raw: bytes, shape: Sequence[int]) -> list[bytes]:
    """The elements of a BYTES tensor of that shape.

    Raises:
        InvalidArgument: there are more or fewer, or one is cut off.
    """
    elements: list[bytes] = []
    expected, at = math.prod(shape), 0
    while at < len(raw):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "little")
        if at > len(raw):
            raise InvalidArgument(
                f"element {len(elements) + 1} of a BYTES tensor is to end at byte {at}, and the tensor has {len(raw)}:"
                " each element follows its length as 4 bytes, little-endian"
            )
        if len(elements) == expected:
            raise InvalidArgument(f"a BYTES tensor of shape {quoted(list(shape))} holds more than {expected} elements")
        elements.append(raw[start:at])
    if len(elements) != expected:
        raise InvalidArgument(f"a BYTES tensor of shape {quoted(list(shape))} holds only {len(elements)} elements")
    return elements
