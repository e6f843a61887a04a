"""Errors as HTTP answers: one table, kind to status, and the wire form `{"error": kind, "detail": message}`."""

import json
import math

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from clients.echo import quoted, shortened
from gateway.gone import CallerGone
from gateway.unforeseen import unforeseen
from vision.errors import (
    CapacityError,
    InternalError,
    InvalidArgument,
    MethodNotAllowed,
    UnknownPath,
    WireError,
)

OIP = "/v2"

STATUS_BY_KIND = {
    "invalid_image": 422,
    "invalid_argument": 422,
    "unsupported_media_type": 415,
    "too_large": 413,
    "unauthorized": 401,
    "forbidden": 403,
    "unknown_model": 404,
    "unknown_path": 404,
    "method_not_allowed": 405,
    "overloaded": 429,
    "rate_limited": 429,
    "model_not_ready": 503,
    "backend_unavailable": 503,
    "deadline_exceeded": 504,
    "backend_failure": 502,
    "internal": 500,
}


def response_from_error(error: WireError, path: str = "") -> Response:
    """The answer for one of our errors; below `/v2` in the words of the Open Inference Protocol."""
    headers = {}
    if isinstance(error, CapacityError):
        headers["retry-after"] = str(math.ceil(error.retry_after_s))  # RFC 9110 10.2.3 knows whole seconds only
    return Response(
        json.dumps(_words(error, path)),
        STATUS_BY_KIND[error.kind],
        headers,
        media_type="application/json",
    )


def _words(error: WireError, path: str) -> dict[str, str]:
    if path == OIP or path.startswith(f"{OIP}/"):
        return {"error": error.detail, "kind": error.kind}  # its clients show `error` to people
    return {"error": error.kind, "detail": error.detail}


def install(app: FastAPI) -> None:
    """Give every failure of `app` the wire form: ours, the framework's, and the unforeseen."""
    app.add_exception_handler(WireError, _raised)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(CallerGone, _raised)
    app.add_exception_handler(Exception, _raised)


def response_from_exception(error: Exception, path: str) -> tuple[Response, bool]:
    """The answer for whatever a handler raised, and whether it was foreseen."""
    if isinstance(error, WireError):
        return response_from_error(error, path), True
    if isinstance(error, CallerGone):
        return Response(status_code=499), True  # nginx's "client closed request"; nobody is there to read it
    return response_from_error(unforeseen(), path), False


async def _raised(request: Request, exc: Exception) -> Response:
    # The unforeseen Starlette raises again once this is sent, and the server logs it with its traceback.
    return response_from_exception(exc, request.url.path)[0]


async def _validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - as above
    problems = (f"{error['loc'][-1]}={quoted(error['input'])}: {error['msg']}" for error in exc.errors())
    error = InvalidArgument(f"{'; '.join(problems)}. /docs describes every parameter")
    return response_from_error(error, request.url.path)


async def _framework(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - as above
    if exc.status_code == 405:
        allowed = (exc.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
        response = response_from_error(
            MethodNotAllowed(
                f"{shortened(request.url.path)} takes {allowed or 'another method'}, not {shortened(request.method)}"
            ),
            request.url.path,
        )
        response.headers["allow"] = allowed
        return response
    if exc.status_code == 404:
        error: WireError = UnknownPath(
            f"there is nothing at {shortened(request.url.path)}; /docs lists every endpoint but those of the Open"
            " Inference Protocol, below /v2"
        )
    else:
        error = InternalError(f"the framework answered {exc.status_code} of its own: {exc.detail}")
    return response_from_error(error, request.url.path)
