"""`/v2`: the Open Inference Protocol over HTTP, as `tritonclient.http` and other KServe clients speak it."""

import dataclasses
import json
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clients.echo import quoted
from gateway import body
from gateway.admission import Admitted, admitted
from gateway.caller import while_connected
from gateway.deadline import Deadline
from gateway.media_types import JSON, UNDECLARED
from gateway.oip import inference, metadata
from gateway.oip.json_form import body_from_answer, ready_from_body, request_from_body
from gateway.phases import timing_headers
from gateway.service import Service
from vision.errors import InvalidArgument, ModelNotReady

HEADER_LENGTH = "inference-header-content-length"
"""How many bytes of a body are JSON, where tensors follow it."""
INDEX_BYTES = 4096
"""What the body of a question for the index may have: it is read without a permit."""
INDEX_ADVICE = 'leave it out, or send {"ready": true}'

router = APIRouter(prefix="/v2", include_in_schema=False)  # the protocol has an OpenAPI document of its own


@router.api_route("", methods=["GET", "HEAD"])
async def server_metadata() -> Response:
    """Name, version and extensions."""
    return _json(dataclasses.asdict(metadata.ServerMetadata()))


@router.api_route("/health/live", methods=["GET", "HEAD"])
async def live() -> Response:
    """The process answers."""
    return _json({"live": True})


@router.api_route("/health/ready", methods=["GET", "HEAD"])
async def ready(request: Request) -> Response:
    """200 when Triton can be reached and a model can be asked, else 503; `/health/ready` says what is missing."""
    if not metadata.server_ready(_service(request)):
        raise ModelNotReady("not ready; /health/ready says why")
    return _json({"ready": True})


@router.api_route("/models/{model}/ready", methods=["GET", "HEAD"])
@router.api_route("/models/{model}/versions/{version}/ready", methods=["GET", "HEAD"])
async def model_ready(request: Request, model: str, version: str = "") -> Response:
    """200 when that version can be asked; else why not."""
    servable = await _service(request).catalogue.servable(model, version)
    return _json({"name": servable.name, "ready": True})


@router.api_route("/models/{model}", methods=["GET", "HEAD"])
@router.api_route("/models/{model}/versions/{version}", methods=["GET", "HEAD"])
async def model_metadata(request: Request, model: str, version: str = "") -> Response:
    """Inputs and outputs."""
    return _json(dataclasses.asdict(await metadata.model_metadata(_service(request), model, version)))


@router.post("/repository/index")
async def repository_index(request: Request) -> Response:
    """Every model; those that can be asked where the body is `{"ready": true}`."""
    service = _service(request)
    async with Deadline(service.settings.deadline_s).over("the index was made"):
        chunks = body.capped_chunks(request, INDEX_BYTES, INDEX_ADVICE)
        ready_alone = ready_from_body(b"".join([chunk async for chunk in chunks]))
        entries = await metadata.repository_index(service, ready=ready_alone)
    return _json([dataclasses.asdict(entry) for entry in entries])


@router.post("/models/{model}/infer")
@router.post("/models/{model}/versions/{version}/infer")
async def infer(request: Request, model: str, version: str = "") -> Response:
    """What is on photos, as tensors: in JSON, or behind it as bytes."""
    service = _service(request)
    with admitted(service, model, "oip-http", headers=request.headers) as admission:
        header_bytes = _header_bytes(request)
        await service.catalogue.servable_by(admission.deadline, model, version)
        content = await _received(request, admission)
        asked, binary = request_from_body(model, version, content, header_bytes)
        del content
        answer = await while_connected(request, inference.answer(service, asked, admission))
        return _answered(answer, binary, admission)


async def _received(request: Request, admission: Admitted) -> bytes:
    body.refuse_encoded(request)
    async with admission.deadline.over("the photo was arriving"):
        with admission.phases.of("receive"):
            chunks = body.capped_chunks(request, _service(request).settings.max_body_bytes)
            return b"".join([chunk async for chunk in chunks])


def _answered(answer: inference.InferAnswer, binary: set[str], admission: Admitted) -> Response:
    content, header_bytes = body_from_answer(answer, binary)
    headers = timing_headers(admission.phases)
    if header_bytes is None:
        return Response(content, headers=headers, media_type=JSON)
    return Response(content, headers=headers | {HEADER_LENGTH: str(header_bytes)}, media_type=UNDECLARED)


def _header_bytes(request: Request) -> int | None:
    text = request.headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise InvalidArgument(f"the header {HEADER_LENGTH} is {quoted(text)}; expected how many bytes are JSON")
    return int(text[:20])


def _json(value: Any) -> Response:
    return Response(json.dumps(value), media_type=JSON)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
