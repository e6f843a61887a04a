"""What a request may ask for beside the answer."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from gateway.echo import quoted
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


_ADAPTER = TypeAdapter(Options)
SCHEMAS: dict[str, dict[str, Any]] = _ADAPTER.json_schema()["properties"]
"""The JSON schema of each option."""


def options_from_query(pairs: Sequence[tuple[str, str]]) -> Options:
    """Options from a query as it came, in which a name may stand twice.

    Raises:
        InvalidArgument: such a name, and what `options_from_parameters` refuses.
    """
    times = Counter(name for name, _ in pairs)
    if repeated := [name for name in times if times[name] > 1]:
        raise InvalidArgument(f"the parameter {quoted(repeated[0])} is there {times[repeated[0]]} times; give it once")
    return options_from_parameters(dict(pairs))


def options_from_parameters(parameters: Mapping[str, str]) -> Options:
    """Options from the words of a query or of request parameters.

    Raises:
        InvalidArgument: an unknown name, with the known ones, or a wrong value.
    """
    for name in parameters:
        if name not in SCHEMAS:
            nearest = difflib.get_close_matches(name, SCHEMAS, n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise InvalidArgument(
                f"there is no parameter {quoted(name)}; {hint}The parameters are: {', '.join(SCHEMAS)}"
            )
    try:
        return _ADAPTER.validate_python(dict(parameters))
    except ValidationError as exc:
        problems = "; ".join(f"{error['loc'][0]}={quoted(error['input'])}: {error['msg']}" for error in exc.errors())
        raise InvalidArgument(f"{problems}. Correct it or leave it out") from exc
