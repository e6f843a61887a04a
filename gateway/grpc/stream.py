"""ModelStreamInfer: photos as they come in, what is on each out."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tritonclient.grpc import service_pb2

from clients.echo import quoted
from clients.phases import Phases
from clients.stream.results import Mode
from gateway.admission import Transport, admitted
from gateway.frames import PARAMETER, Frame, Frames, mode_from_word
from gateway.grpc.errors import error_from_exception
from gateway.grpc.messages import message_from_answer, message_from_bytes, parameters_from_message, request_from_message
from gateway.metrics import Counted
from gateway.oip import inference
from gateway.service import Service
from vision.errors import InvalidArgument

TRANSPORT: Transport = "grpc-stream"
FRAME, DROPPED, KIND = "frame", "dropped", "kind"
"""Response parameters: the request's number in the stream, how many were dropped since the last answer, what failed."""


async def answers(requests: AsyncIterator[bytes], service: Service, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    """A ModelStreamInferResponse for each ModelInferRequest, given serialised, until there are no more.

    One that fails is answered with its error, and the stream goes on. Where the latest wins, requests that are dropped
    are not answered. Whoever iterates waits until the caller has read; while it does not, nothing is worked on.
    """
    first = await anext(requests, None)
    if first is None:
        return
    mode = _mode(first)
    frames = Frames[bytes](mode, lambda data: service.metrics.dropped(_model(data), TRANSPORT))
    frames.put(first)
    del first
    reading = asyncio.create_task(_read(requests, frames))
    try:
        async for frame in frames:
            yield await _answer(frame, mode, service, headers)
            del frame
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(requests: AsyncIterator[bytes], frames: Frames[bytes]) -> None:
    try:
        await frames.place()
        async for data in requests:
            frames.put(data)
            del data  # the next may be long in coming, and this one large
            await frames.place()
    finally:
        frames.close()


async def _answer(frame: Frame[bytes], mode: Mode, service: Service, headers: Mapping[str, str]) -> Any:
    response = service_pb2.ModelStreamInferResponse()
    answered = response.infer_response
    try:
        message = _message(frame.data, service)
        answered.model_name, answered.id = message.model_name, message.id
        with admitted(service, message.model_name, TRANSPORT, headers=headers) as admission:
            _take_mode(message, mode)
            request = request_from_message(message)
            answered.CopyFrom(message_from_answer(await inference.answer(service, request, admission)))
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is this frame's, and the stream goes on
        error = error_from_exception(exc)
        response.error_message = error.detail
        answered.parameters[KIND].string_param = error.kind
    answered.parameters[FRAME].int64_param = frame.number
    answered.parameters[DROPPED].int64_param = frame.dropped
    return response


def _message(data: bytes, service: Service) -> Any:
    """Taken apart before there is a permit: its answer has its id, whatever becomes of it."""
    try:
        return message_from_bytes(data)
    except InvalidArgument:
        with service.metrics.request(Counted(""), TRANSPORT, Phases()):
            raise


def _mode(first: bytes) -> Mode:
    """As the first request of a stream says; what is wrong with it, its answer says."""
    try:
        return _asked(message_from_bytes(first)) or "latest"
    except InvalidArgument:
        return "latest"


def _take_mode(message: Any, mode: Mode) -> None:
    asked = _asked(message)
    if asked not in (None, mode):
        raise InvalidArgument(
            f"{PARAMETER} is {quoted(asked)} and the stream's first request made it {mode}; open another stream"
        )
    message.parameters.pop(PARAMETER, None)


def _asked(message: Any) -> Mode | None:
    word = parameters_from_message(message.parameters).get(PARAMETER)
    return None if word is None else mode_from_word(str(word))


def _model(data: bytes) -> str:
    try:
        return str(message_from_bytes(data).model_name)
    except InvalidArgument:
        return ""
