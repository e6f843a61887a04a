"""What a gateway says to each frame."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from clients.results import Prediction, Result, results_from_prediction
from clients.wire import error_from_problem
from vision.errors import BackendFailure, JetserveError


@dataclass(frozen=True, slots=True)
class Answer:
    """`number` is that of the frame on its connection, from 1."""

    number: int
    result: Result | None
    error: JetserveError | None


class _Numbered(BaseModel):
    frame: int
    error: str | None = None
    detail: str = ""


def answer_from_message(message: str | bytes, hide: Callable[[str], str] = str) -> Answer:
    """One text message of a stream; `hide` what a proxy may quote in it.

    Raises:
        BackendFailure: it cannot be read.
    """
    try:
        numbered = _Numbered.model_validate_json(message)
        if numbered.error is not None:
            return Answer(numbered.frame, None, error_from_problem(numbered.error, hide(numbered.detail)))
        [result] = results_from_prediction(Prediction.model_validate_json(message))
    except (ValidationError, ValueError):
        said = hide(repr(message[:200]))
        raise BackendFailure(
            f"an answer of the stream cannot be read ({said}); is this a jetserve gateway of about this client's"
            " version?"
        ) from None  # which quotes the message
    return Answer(numbered.frame, result, None)
