"""A checkpoint, read without running what may be pickled in it, and seen to fit its model.

OpenMMLab's trainers pickle the history of their losses beside the weights (mmengine `HistoryBuffer`, NumPy scalars).
`torch.load(weights_only=True)` rebuilds these few types and nothing else; anything more is refused by name.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from builder.frameworks.job import JobError
from builder.frameworks.openmmlab import mmcls
from builder.frameworks.state_dict import loaded

SHOWN = 5
"""Keys in a message; there may be hundreds."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name, and what the trainer noted: `meta` may hold class names."""

    state: dict[str, torch.Tensor]
    meta: dict[str, Any]


def weights_from_file(path: Path, *, trusted: bool = False) -> Weights:
    """Read a checkpoint of mmengine, of mmcv 1, or a bare state dict.

    Raises:
        JobError: it is broken, holds no weights, or holds more than is read unless `trusted`.
    """
    content = loaded(path, trusted=trusted, known=types_of_mmengine())
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        kinds = ", ".join(map(str, list(content)[:SHOWN])) if isinstance(content, dict) else type(content).__name__
        raise JobError("export", f"{path.name} holds no state_dict of tensors, but {kinds}; expected a checkpoint")
    meta = content.get("meta")
    return Weights(mmcls.state_dict_from_old(state), meta if isinstance(meta, dict) else {})


def load_into(model: torch.nn.Module, weights: Weights, name: str) -> None:
    """Load every tensor.

    Raises:
        JobError: keys missing, keys left over, or other shapes: a checkpoint of another architecture.
    """
    state = {key: value.float() if value.is_floating_point() else value for key, value in weights.state.items()}
    own = model.state_dict()
    shapes = [
        f"{key} {tuple(value.shape)} in place of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and own[key].shape != value.shape
    ]
    missing, unexpected = [], []
    if not shapes:
        fitted = model.load_state_dict(state, strict=False)  # runs the hooks that rename keys of older releases
        missing = [key for key in fitted.missing_keys if not key.endswith("num_batches_tracked")]
        unexpected = list(fitted.unexpected_keys)
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(wrong.values()):
        told = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{', …' if len(keys) > SHOWN else ''}"
            for what, keys in wrong.items()
            if keys
        )
        raise JobError(
            "export",
            f"{name} is a checkpoint of another architecture than the configuration ({len(own)} tensors): {told}. "
            "Give the configuration that it was trained with",
        )


def _statistic(owner: Any, name: str) -> Any:
    """In place of `getattr`, by which a HistoryBuffer pickles its own methods."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"Weights only load refuses getattr of {name!r}: unsupported global")
    return getattr(HistoryBuffer, name)


def types_of_mmengine() -> list[Any]:
    """What `torch.serialization.safe_globals` must allow, for checkpoints as mmengine's trainer writes them."""
    multiarray = np._core.multiarray
    numbers = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    named: list[Any] = [
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # as NumPy 1 wrote it
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (_statistic, "builtins.getattr"),
        (_statistic, "__builtin__.getattr"),
    ]
    return [HistoryBuffer, np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar, *numbers, *named]
