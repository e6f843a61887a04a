"""Raw outputs, held against the contract before anything is read from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import Contract
from vision.dtypes import DTYPES
from vision.errors import BackendFailure

Outputs = Mapping[str, NDArray[Any]]
"""By name, with the batch dimension."""


def checked_output(contract: Contract, outputs: Outputs, name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The output `name` in the contract's dtype and of `shape`, in which None is any size.

    Raises:
        BackendFailure: it is missing, or of another shape or dtype.
    """
    if name not in outputs:
        raise BackendFailure(f"the model did not answer with output {name!r}, only with {sorted(outputs)}")
    array = outputs[name]
    [dtype] = [DTYPES[output.dtype] for output in contract.outputs if output.name == name]
    fits = len(array.shape) == len(shape) and shape == tuple(
        [None if wanted is None else got for wanted, got in zip(shape, array.shape, strict=True)]
    )
    if not fits or array.dtype != dtype:
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise BackendFailure(
            f"output {name!r}: expected {dtype} [{wanted}], the model answered {array.dtype} {list(array.shape)}."
            " Its contract and its graph disagree: import it again"
        )
    return array


def require_finite(name: str, array: NDArray[Any]) -> None:
    """Refuse NaN and infinity, wherever they stand: scores beside them are not to be trusted either."""
    if np.count_nonzero(np.isfinite(array)) != array.size:
        raise BackendFailure(f"output {name!r} holds NaN or infinity: the model's arithmetic broke on this image")


def require_known(contract: Contract, name: str, ids: NDArray[Any]) -> None:
    """Refuse label ids that the contract has no name for."""
    found, last = ids.tolist(), len(contract.labels) - 1
    if found and not 0 <= min(found) <= max(found) <= last:
        raise BackendFailure(f"output {name!r} holds label ids {min(found)} to {max(found)}, the contract 0 to {last}")
