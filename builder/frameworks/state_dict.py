"""A checkpoint of plain torch: read without running what may be pickled in it, and loaded only where it fits."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from builder.frameworks.job import JobError

STEP = "export"
SHOWN = 4
"""Keys in a message; there may be hundreds."""
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Under which training scripts keep the weights beside other things."""
PREFIXES = ("_orig_mod.", "module.", "model.")
"""What torch.compile, DataParallel and Lightning put before every name."""

State = dict[str, Tensor]


def state_dict_from_file(path: Path, *, trusted: bool = False) -> State:
    """Tensors by name, floating ones as float32, without wrappers and prefixes.

    Raises:
        JobError: the file is damaged, holds no weights, or more than is read unless `trusted`.
    """
    state = _unwrapped(loaded(path, trusted=trusted))
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        what = ", ".join(map(str, list(state)[:SHOWN])) if isinstance(state, Mapping) else type(state).__name__
        raise JobError(
            STEP,
            f"{path.name} holds no state dict, names with tensors, but {what or 'nothing'}. Save it with "
            "torch.save(model.state_dict(), …)",
        )
    named = {str(name): value.float() if value.is_floating_point() else value for name, value in state.items()}
    for prefix in PREFIXES * 2:  # one may stand within another
        if all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def loaded(path: Path, *, trusted: bool = False, known: Sequence[Any] = ()) -> Any:
    """What the file holds: tensors, plain values and `known` types (as `torch.serialization.safe_globals` takes them).

    Raises:
        JobError: the file is damaged, or holds more than that and is not `trusted`.
    """
    try:
        with torch.serialization.safe_globals(list(known)):
            return torch.load(path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as exc:
        if "weights only" not in str(exc).lower() or "operand" in str(exc):  # an opcode that pickle does not have
            raise _damaged(path, exc) from exc
        named = re.search(r"GLOBAL (\S+)", str(exc))
        raise JobError(
            STEP,
            f"{path.name} holds pickled objects beyond tensors ({named[1] if named else str(exc).partition(chr(10))[0]}"
            "). Reading them can run any code, for a pickle runs anything that its maker put into it, so they are "
            "refused. Save the state dict alone, or, knowing who made the file, let it run with --trust-checkpoint",
        ) from exc
    except Exception as exc:  # torch raises whatever its readers do
        raise _damaged(path, exc) from exc


def load_into(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load every tensor; only BatchNorm's counters may be missing.

    Raises:
        JobError: names missing, left over, or of other shapes: `what` the checkpoint is not.
    """
    own = model.state_dict()
    wrong = {
        "missing": [name for name in own if name not in state and not name.endswith("num_batches_tracked")],
        "left over": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {list(value.shape)} in place of {list(own[name].shape)}"
            for name, value in state.items()
            if name in own and own[name].shape != value.shape
        ],
    }
    if any(wrong.values()):
        told = "; ".join(f"{len(names)} {kind}: {_shown(names)}" for kind, names in wrong.items() if names)
        raise JobError(
            STEP, f"the checkpoint is not of {what} ({len(own)} tensors): {told}. Name what it was trained with"
        )
    model.load_state_dict(state, strict=False)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _damaged(path: Path, exc: Exception) -> JobError:
    size = f"{path.stat().st_size:,} bytes" if path.exists() else "no such file"
    reason = str(exc).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0].partition(". ")[0]
    return JobError(
        STEP,
        f"{path.name} ({size}) is no checkpoint that torch can read ({type(exc).__name__}: {reason}); was it cut off? "
        "Fetch it again",
    )


def _unwrapped(content: Any) -> Any:
    if isinstance(content, nn.Module):
        return content.state_dict()
    if isinstance(content, Mapping):
        for name in WRAPPERS:
            if name in content and not isinstance(content[name], Tensor):
                return _unwrapped(content[name])
    return content
