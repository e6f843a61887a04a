"""A model as one Triton serves it."""

from dataclasses import dataclass

from clients.triton.models import ServedModel
from vision.contract import Contract
from vision.transforms import Preprocessor


@dataclass(frozen=True, slots=True)
class Servable:
    """A model that is ready, with what serving it takes."""

    name: str
    version: str
    contract: Contract
    preprocessor: Preprocessor


def state_of(model: ServedModel | None) -> str:
    """In a few words."""
    if model is None:
        return "unknown"
    return f"ready, version {model.version}" if model.ready else f"not ready: {model.problem or 'loading'}"
