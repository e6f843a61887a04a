"""`POST /v1/models/{model}/predict`: HTTP around the predictor."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from clients.options import Options
from gateway import media_types
from gateway.admission import Admitted, admitted
from gateway.body import photos_from_request
from gateway.caller import while_connected
from gateway.options import SCHEMAS, options_from_query
from gateway.phases import ask_for_exact, timing_headers
from gateway.photo import Photo
from gateway.responses import PREDICT_RESPONSES, plain_prediction, problems
from gateway.service import Service
from vision.errors import InvalidArgument

router = APIRouter(tags=["predict"])

_BINARY = {"type": "string", "format": "binary"}
_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **{media_type: {"schema": _BINARY} for media_type in media_types.PHOTOS},
            media_types.FORM: {
                "schema": {
                    "type": "object",
                    "description": "a photo a field; their names do not matter",
                    # Not a list of files: Swagger UI 5 sends the items of one as text (OpenAPI 3.1).
                    "properties": {"file": _BINARY, "another": _BINARY},
                    "required": ["file"],
                }
            },
        },
    },
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": schema,
            "description": schema["description"],
        }
        for name, schema in SCHEMAS.items()
    ],
}


@router.post(
    "/v1/models/{model}/predict",
    summary="What is on a photo",
    responses=PREDICT_RESPONSES | problems(404, 413, 415, 422, 429, 502, 503, 504),
    openapi_extra=_REQUEST,
)
async def predict(request: Request, model: Annotated[str, Path(json_schema_extra={"example": "balloon"})]) -> Response:
    """Send a photo as the body, or several as the files of a form; get what the model finds on each.

    `curl --data-binary @photo.jpg -H 'content-type: image/jpeg' localhost:8080/v1/models/balloon/predict`

    With `Accept: image/jpeg` or `image/png` the answer is the photo with what was found drawn on it.
    """
    service: Service = request.app.state.service
    with admitted(service, model, "http", headers=request.headers) as admission:
        ask_for_exact(admission.phases, request.headers)
        options = options_from_query(request.query_params.multi_items())
        servable = await service.catalogue.servable_by(admission.deadline, model)
        options.check(servable.contract)
        photos = await _received(request, service, admission)
        media_type = media_types.chosen_answer(request.headers.get("accept"))
        work = _answer(service, model, photos, options, admission, media_type)
        return await while_connected(request, work)


async def _received(request: Request, service: Service, admission: Admitted) -> list[Photo]:
    async with admission.deadline.over("the photo was arriving"):
        with admission.phases.of("receive"):
            settings = service.settings
            return await photos_from_request(request, max_bytes=settings.max_body_bytes, max_files=settings.max_files)


async def _answer(
    service: Service,
    model: str,
    photos: list[Photo],
    options: Options,
    admission: Admitted,
    media_type: str,
) -> Response:
    deadline, phases = admission.deadline, admission.phases
    picture = media_type in media_types.PICTURES
    if picture and len(photos) > 1:
        raise InvalidArgument(
            f"a picture of {len(photos)} photos was asked for (Accept: {media_type}); send one photo, or accept JSON"
        )
    prediction = await service.predictor.predict(model, photos, options, deadline, phases)
    if picture:
        content = await service.predictor.picture(photos[0], prediction, media_type, deadline, phases)
        return Response(content, headers={"vary": "accept"} | timing_headers(phases), media_type=media_type)
    answer = to_json(plain_prediction(prediction, phases.milliseconds()))
    return Response(answer, headers={"vary": "accept"} | timing_headers(phases), media_type=media_type)
