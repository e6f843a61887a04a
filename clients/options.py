"""What may be asked for beside the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from clients.echo import quoted
from vision.contract import Contract
from vision.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Options:
    """None leaves it to the model's contract."""

    score_threshold: Annotated[
        float | None, Field(ge=0, le=1, allow_inf_nan=False, description="kept are scores above it")
    ] = None
    top_k: Annotated[int | None, Field(ge=1, description="how many classes to give; of a classifier")] = None
    max_detections: Annotated[int | None, Field(ge=1, description="how many objects to give; of a detector")] = None

    def check(self, contract: Contract) -> None:
        """Refuse what the model cannot heed, rather than ignore it.

        Raises:
            InvalidArgument: naming the option that does the like.
        """
        if contract.task == "detection" and self.top_k is not None:
            raise InvalidArgument("top_k is for classifiers and this model detects; use max_detections")
        if contract.task == "classification" and self.max_detections is not None:
            raise InvalidArgument("max_detections is for detectors and this model classifies; use top_k")


ADAPTER = TypeAdapter(Options)


def options_from_values(values: Mapping[str, object]) -> Options:
    """Options from numbers, or from their words, by name.

    Raises:
        InvalidArgument: a value of the wrong type or out of its range.
    """
    try:
        return ADAPTER.validate_python(dict(values))
    except ValidationError as exc:
        problems = "; ".join(f"{error['loc'][0]}={quoted(error['input'])}: {error['msg']}" for error in exc.errors())
        raise InvalidArgument(f"{problems}. Correct it or leave it out") from exc
