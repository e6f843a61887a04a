"""The gateway's HTTP as plain data: requests to send and replies to read, without a transport.

A client is a loop around these; one for asyncio needs no copy of them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from clients.echo import quoted
from clients.photos import Photo, encoded_photo
from clients.results import Model, ModelDetail, Models, Prediction, Problem, Result, results_from_prediction
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    CapacityError,
    InvalidArgument,
    Overloaded,
    WireError,
    wire_errors,
)

UNDECLARED = "application/octet-stream"
"""What bytes without a file name are sent as; the gateway then goes by the bytes."""

BUSY: Mapping[int, type[CapacityError]] = {429: Overloaded, 503: BackendUnavailable}
"""What a proxy before the gateway says in its own words, and what it is here."""

TIMINGS = "x-timings"
"""Asks, with `exact`, for what Triton took of this very request; the answer's says `exact`, or `mean`."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is below the gateway's address."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """`headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    hide: Callable[[str], str] = str
    """Takes out of a text what it should not be said to have: whoever refuses a key likes to quote it."""


def predict_request(
    photo: Photo,
    model: str,
    *,
    accept: str = "application/json",
    exact_timings: bool = False,
    score_threshold: float | None = None,
    top_k: int | None = None,
    max_detections: int | None = None,
) -> Request:
    """Ask what is on a photo; with `exact_timings`, and what Triton took of this very request.

    Raises:
        OSError: the file cannot be read.
        InvalidArgument: no model can have that name, or what is given is no photo.
    """
    encoded = encoded_photo(photo)
    headers = {"accept": accept, "content-type": encoded.media_type or UNDECLARED}
    return Request(
        "POST",
        f"{_model_path(model)}/predict",
        headers=headers | {TIMINGS: "exact"} if exact_timings else headers,
        parameters=_given(score_threshold=score_threshold, top_k=top_k, max_detections=max_detections),
        content=encoded.content,
    )


def stream_request(model: str, mode: str, options: Mapping[str, float | None]) -> Request:
    """The handshake of a stream; `mode` is latest or every.

    Raises:
        InvalidArgument: no model can have that name.
    """
    return Request("GET", f"{_model_path(model)}/stream", parameters={"frames": mode} | _given(**options))


def models_request() -> Request:
    return Request("GET", "/v1/models")


def model_request(name: str) -> Request:
    """Ask for one model.

    Raises:
        InvalidArgument: no model can have that name.
    """
    return Request("GET", _model_path(name))


def ready_request() -> Request:
    return Request("GET", "/health/ready")


def result_from_reply(reply: Reply, name: str | None) -> Result:
    """The one result of a photo that was sent as `name`.

    Raises:
        vision.errors.WireError: what the gateway answered instead.
    """
    [result] = results_from_prediction(_read_as(Prediction, reply))
    return result if result.name else result.model_copy(update={"name": name})


def models_from_reply(reply: Reply) -> list[Model]:
    """Every model.

    Raises:
        vision.errors.WireError: what the gateway answered instead.
    """
    return list(_read_as(Models, reply).models)


def model_from_reply(reply: Reply) -> ModelDetail:
    """One model, with its contract.

    Raises:
        vision.errors.WireError: what the gateway answered instead.
    """
    return _read_as(ModelDetail, reply)


def content_from_reply(reply: Reply) -> bytes:
    """The body as it came.

    Raises:
        vision.errors.WireError: what the gateway answered instead.
    """
    if reply.status != 200:
        raise error_from_reply(reply)
    return reply.content


def not_busy(reply: Reply) -> Reply:
    """The reply itself, where another attempt would not get another one.

    Raises:
        vision.errors.CapacityError: 429 or 503.
    """
    if reply.status in BUSY:
        raise error_from_reply(reply)
    return reply


def retry_after_s(reply: Reply) -> float:
    """How long the gateway wants to be left alone; 1 where it does not say, or gives a date."""
    try:
        given_s = float(reply.headers.get("retry-after", ""))
    except ValueError:
        return 1.0
    return given_s if math.isfinite(given_s) and given_s >= 0 else 1.0


def error_from_reply(reply: Reply) -> WireError:
    """The same class that the gateway raised."""
    try:
        problem = Problem.model_validate_json(reply.content)
    except ValidationError:
        problem = None
    if problem is None or problem.error not in wire_errors():
        start = reply.hide(repr(reply.content[:200].decode("utf-8", "replace")))
        detail = f"the answer is {reply.status} {start}, not one of jetserve's; {_question(reply)}"
        if reply.status in BUSY:
            return BUSY[reply.status](detail, retry_after_s(reply))
        return BackendFailure(detail)
    return error_from_problem(problem.error, reply.hide(problem.detail), retry_after_s(reply))


def error_from_problem(kind: str, detail: str, retry_after_s: float | None = None) -> WireError:
    """The error of that kind; `retry_after_s`, where there is one to say, for those that another attempt may mend."""
    cls = wire_errors().get(kind)
    if cls is None:
        return BackendFailure(f"{detail} (an error of kind {kind!r}; is this client older than the gateway?)")
    if issubclass(cls, CapacityError) and retry_after_s is not None:
        return cls(detail, retry_after_s)
    return cls(detail)


def _question(reply: Reply) -> str:
    if reply.status in (401, 403):
        return "is this the gateway's address, and does a proxy before it want a key, or another one, in a header?"
    if 300 <= reply.status < 400 and "location" in reply.headers:
        where = quoted(reply.hide(reply.headers["location"].partition("?")[0]))
        return f"is this the gateway's address? No redirect is followed, here to {where}"
    return "is this the gateway's address, and does a proxy stand before it?"


def _given(**options: float | None) -> dict[str, str]:
    """Without those that are left to the model's contract."""
    return {name: str(value) for name, value in options.items() if value is not None}


def _model_path(name: str) -> str:
    # Proxies and servers undo %2F and walk up at "..": the answer would be that of another path.
    if name in ("", ".", "..") or "/" in name:
        raise InvalidArgument(f"{name!r} is no model's name: it is the name of a folder in Triton's repository")
    return f"/v1/models/{quote(name, safe='')}"


def _read_as(shape: type[M], reply: Reply) -> M:
    content = content_from_reply(reply)
    try:
        return shape.model_validate_json(content)
    except ValidationError as exc:
        raise BackendFailure(
            f"the answer cannot be read as {shape.__name__}: {exc.errors()[0]['msg']}; is this a jetserve gateway"
            " of about this client's version?"
        ) from None  # which quotes the answer
