"""Which of our errors a failed call to Triton is: the table, as data.

The status alone cannot tell: Triton answers UNAVAILABLE for a full queue, a request that waited too long, and a
version that is not ready. So a row is a status and a part of the message, both recorded from a real server
(tests/triton/recorded_errors.json says which) and provoked again by tests/triton/test_errors.py.
"""

from typing import NamedTuple

from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    CapacityError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    UnknownModel,
    WireError,
)


class Row(NamedTuple):
    """A failure: gRPC status, part of the message ("" is any), our error, and what its reader is told."""

    status: str
    contains: str
    error: type[WireError]
    advice: str


LOADED = "it is in the repository but not loaded: load it, or read why it failed in Triton's log"
UNREACHABLE = "is it running, and is this its gRPC address?"
OURS = "contract and model disagree: import the model again"

STUB_DIED = Row("INTERNAL", "Stub process", ModelNotReady, "it is being loaded again")
"""The process of a model of the Python backend ended; Triton calls the model ready all the same."""

REGION_LOST = Row("NOT_FOUND", "Unable to find shared memory region", BackendFailure, "it is registered anew")
"""Triton has restarted since shared memory was registered with it; nothing was read or written."""

REGION_KNOWN = Row("ALREADY_EXISTS", "already in manager", BackendFailure, "it is registered already")

ROWS = (
    REGION_LOST,
    REGION_KNOWN,
    Row("NOT_FOUND", "has no available versions", ModelNotReady, LOADED),
    Row("NOT_FOUND", "is not found", UnknownModel, "list the models to see what there is"),
    Row("UNAVAILABLE", "is not at ready state", ModelNotReady, LOADED),
    Row("UNAVAILABLE", "Exceeds maximum queue size", Overloaded, "its queue is full: send the request again later"),
    Row("UNAVAILABLE", "Request timeout expired", DeadlineExceeded, "it waited too long in the model's queue"),
    Row("INTERNAL", "failed to poll from model repository", UnknownModel, "it is not in Triton's model repository"),
    STUB_DIED,
    Row("INVALID_ARGUMENT", "load failed for model", ModelNotReady, "correct the model, then load it again"),
    # What is left of a status, whatever the message.
    Row("DEADLINE_EXCEEDED", "", DeadlineExceeded, "Triton did not answer in time"),
    Row("UNAVAILABLE", "", BackendUnavailable, UNREACHABLE),
    Row("CANCELLED", "", BackendUnavailable, "the connection ended before the answer"),
    Row("UNIMPLEMENTED", "", BackendFailure, "what listens there is not a Triton, or one too old"),
    Row("NOT_FOUND", "", UnknownModel, "list the models to see what there is"),
    Row("INVALID_ARGUMENT", "", BackendFailure, OURS),
    Row("INTERNAL", "", BackendFailure, "see Triton's log"),
)
OTHER = Row("", "", BackendFailure, "see Triton's log")

RETRY_AFTER_S = {Overloaded: 1.0, ModelNotReady: 2.0, BackendUnavailable: 2.0}


def row_of(status: str, message: str) -> Row:
    """The first row that fits; OTHER when none does."""
    return next((row for row in ROWS if row.status == status and row.contains in message), OTHER)


def without_traceback(message: str) -> str:
    """One line: without the Python backend's traceback, which is in Triton's log, and an unset request id."""
    return message.partition("\n\nAt:")[0].removeprefix("[request id: <id_unknown>] ").strip()


def error_from_status(status: str, message: str, what: str) -> WireError:
    """The error for a gRPC status name and message; `what` is what was asked of whom."""
    row = row_of(status, message)
    message = without_traceback(message)
    detail = f"{what}: {message or status.lower().replace('_', ' ')} ({row.advice})"
    if issubclass(row.error, CapacityError):
        error: WireError = row.error(detail, RETRY_AFTER_S[row.error])
    else:
        error = row.error(detail)
    vars(error)["row"] = row  # not a field: the classes travel over the wire, where there is no Triton
    return error


def needs_loading(error: WireError) -> bool:
    """Whether the failure is of a model that stays so until it is loaded again."""
    return vars(error).get("row") is STUB_DIED


def region_is_lost(error: WireError) -> bool:
    """Whether Triton refused a request unread because it does not know the shared memory that was named."""
    return vars(error).get("row") is REGION_LOST


def region_is_known(error: WireError) -> bool:
    """Whether Triton refused to register shared memory because it has it by that name."""
    return vars(error).get("row") is REGION_KNOWN
