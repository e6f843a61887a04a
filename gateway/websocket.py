"""WebSocket `/v1/models/{model}/stream`: photos as they come in, what is on each out."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from clients.echo import shortened
from clients.options import Options
from clients.stream.results import Mode
from gateway.admission import Transport, admitted
from gateway.deadline import Deadline
from gateway.frames import PARAMETER, Frames, mode_from_word
from gateway.gone import CallerGone
from gateway.options import options_from_query
from gateway.photo import Photo
from gateway.responses import plain_prediction
from gateway.service import Service
from gateway.unforeseen import unforeseen
from vision.errors import InvalidArgument, InvalidImage, UnknownPath, WireError

logger = logging.getLogger(__name__)

router = APIRouter()

PATH = "/v1/models/{model}/stream"
TRANSPORT: Transport = "websocket"


@router.websocket(PATH)
async def stream(websocket: WebSocket, model: str) -> None:
    """Answer each binary message, a photo, with a text message, until the caller hangs up.

    `?frames=latest`, which goes without saying, or `?frames=every`; and the options of predict. Until it is accepted
    the answer is that of HTTP: what is raised becomes a status and a problem.
    """
    service: Service = websocket.app.state.service
    mode, options = _asked(websocket.query_params.multi_items())
    deadline = Deadline(service.settings.deadline_s)
    servable = await service.catalogue.servable_by(deadline, model)
    options.check(servable.contract)
    await websocket.accept()
    frames: Frames[Photo | None] = Frames(mode, lambda _: service.metrics.dropped(model, TRANSPORT))
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_read(websocket, frames))
            both.create_task(_answer(websocket, frames, service, model, options))
    except* (CallerGone, WebSocketDisconnect):
        pass


async def _read(websocket: WebSocket, frames: Frames[Photo | None]) -> None:
    while True:
        await frames.place()
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise CallerGone
        data = message.get("bytes")
        frames.put(None if data is None else Photo(None, bytes(data)))
        del message, data  # the next may be long in coming, and this one large


async def _answer(
    websocket: WebSocket, frames: Frames[Photo | None], service: Service, model: str, options: Options
) -> None:
    async for frame in frames:
        try:
            answer = await _prediction(frame.data, service, model, options, websocket.headers)
        except WireError as exc:
            answer = {"error": exc.kind, "detail": exc.detail}
        except Exception:
            logger.exception("frame %d of a stream failed", frame.number)
            failed = unforeseen()
            answer = {"error": failed.kind, "detail": failed.detail}
        # The caller's reading is waited for here: while it does not, nothing is worked on and frames are not kept.
        await websocket.send_text(json.dumps(answer | {"frame": frame.number, "dropped": frame.dropped}))


async def _prediction(
    photo: Photo | None, service: Service, model: str, options: Options, headers: Mapping[str, str]
) -> dict[str, object]:
    with admitted(service, model, TRANSPORT, headers=headers) as admission:
        deadline, phases = admission.deadline, admission.phases
        if photo is None:
            raise InvalidArgument("the message is text; send each photo as one binary message")
        if not photo.data:
            raise InvalidImage("the message is empty; send each photo as one binary message")
        prediction = await service.predictor.predict(model, [photo], options, deadline, phases)
        return plain_prediction(prediction, phases.milliseconds())


def _asked(pairs: Sequence[tuple[str, str]]) -> tuple[Mode, Options]:
    words = [word for name, word in pairs if name == PARAMETER]
    if len(words) > 1:
        raise InvalidArgument(f"the parameter {PARAMETER!r} is there {len(words)} times; give it once")
    options = options_from_query([pair for pair in pairs if pair[0] != PARAMETER], beside=(PARAMETER,))
    return mode_from_word(words[0] if words else None), options


@router.get(PATH, include_in_schema=False)
async def no_handshake(request: Request) -> Response:
    """Say what is here to who comes with plain HTTP."""
    raise UnknownPath(
        f"{shortened(request.url.path)} is a WebSocket; connect with a WebSocket client (ws://…), or POST a photo to"
        " /v1/models/{model}/predict"
    )


@router.websocket("/{path:path}")
async def no_stream(websocket: WebSocket) -> None:
    """Say where streams are to who asks for one elsewhere."""
    raise UnknownPath(f"there is no stream at {shortened(websocket.url.path)}; one is at {PATH}")
