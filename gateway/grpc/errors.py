"""Errors as gRPC answers: one table, kind to status, with the kind itself in the trailing metadata."""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from gateway.gone import CallerGone
from gateway.unforeseen import unforeseen
from vision.errors import CapacityError, WireError

logger = logging.getLogger(__name__)

KIND_KEY, RETRY_AFTER_KEY = "jetserve-kind", "retry-after"
"""Trailing metadata of a failed call: the stable name of its kind, and whole seconds where another try is worth it."""

LONGEST_ASCII, LONGEST = 4000, 600
"""Characters of a message: it travels as a header, percent-encoded, and gRPC drops calls with headers above 8 KiB."""

STATUS_BY_KIND = {
    "invalid_image": grpc.StatusCode.INVALID_ARGUMENT,
    "invalid_argument": grpc.StatusCode.INVALID_ARGUMENT,
    "unsupported_media_type": grpc.StatusCode.INVALID_ARGUMENT,
    "too_large": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "unknown_model": grpc.StatusCode.NOT_FOUND,
    "unknown_path": grpc.StatusCode.UNIMPLEMENTED,
    "method_not_allowed": grpc.StatusCode.UNIMPLEMENTED,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "model_not_ready": grpc.StatusCode.UNAVAILABLE,
    "backend_unavailable": grpc.StatusCode.UNAVAILABLE,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "backend_failure": grpc.StatusCode.INTERNAL,
    "internal": grpc.StatusCode.INTERNAL,
}


def error_from_exception(exc: Exception) -> WireError:
    """Ours as it is; the unforeseen is logged with its traceback, and its caller learns only that it happened."""
    if isinstance(exc, WireError):
        return exc
    logger.error("a gRPC call failed", exc_info=exc)
    return unforeseen()


@asynccontextmanager
async def ended_by_its_error(context: Any) -> AsyncIterator[None]:
    """End the call with the status, message and trailing metadata of what the block raises."""
    try:
        yield
    except grpc.aio.BaseError:  # the call has been ended already, by either side
        raise
    except CallerGone:
        await context.abort(grpc.StatusCode.CANCELLED, "the caller hung up, or sent no message")
    except Exception as exc:  # noqa: BLE001 - whatever it is, it ends this call, and no other
        error = error_from_exception(exc)
        await context.abort(STATUS_BY_KIND[error.kind], fitting(error.detail), trailing_metadata(error))


def trailing_metadata(error: WireError) -> tuple[tuple[str, str], ...]:
    """What a failed call carries beside status and message."""
    kind = (KIND_KEY, error.kind)
    if isinstance(error, CapacityError):
        return kind, (RETRY_AFTER_KEY, str(math.ceil(error.retry_after_s)))
    return (kind,)


def fitting(message: str) -> str:
    """The message, or as much of it as a header takes."""
    longest = LONGEST_ASCII if message.isascii() else LONGEST
    return message if len(message) <= longest else f"{message[:longest]}..."
