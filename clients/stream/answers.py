"""What a gateway says to each frame."""

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


def answer_from_message(message: str | bytes) -> Answer:
    """One text message of a stream.

    Raises:
        BackendFailure: it cannot be read.
    """
    try:
        numbered = _Numbered.model_validate_json(message)
        if numbered.error is not None:
            return Answer(numbered.frame, None, error_from_problem(numbered.error, numbered.detail))
        [result] = results_from_prediction(Prediction.model_validate_json(message))
    except (ValidationError, ValueError) as exc:
        raise BackendFailure(
            f"an answer of the stream cannot be read ({message[:200]!r}); is this a jetserve gateway of about this"
            " client's version?"
        ) from exc
    return Answer(numbered.frame, result, None)
