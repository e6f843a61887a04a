"""The contract's names for dtypes, as NumPy's: little-endian, as they travel."""

from typing import Any

import numpy as np

DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
    "UINT8": np.dtype("u1"),
}
