"""`GET /v1/models`, and one of them."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clients.results import ModelDetail, Models, Problem
from gateway.media_types import JSON
from gateway.responses import problems, wire_model, wire_model_detail
from gateway.service import Service

router = APIRouter(tags=["models"])


async def models(request: Request) -> Response:
    """Every model in Triton's repository, ready or not. While Triton is away, what it had."""
    service: Service = request.app.state.service
    await service.catalogue.refresh()
    answer = Models(models=tuple(wire_model(served) for served in service.catalogue.models()))
    return Response(answer.model_dump_json(), media_type=JSON)


async def model(request: Request, model: str) -> Response:
    """One model: its labels, the size it sees, whether it is ready and if not, why; and its whole contract."""
    service: Service = request.app.state.service
    await service.catalogue.refresh()
    served = await service.catalogue.model(model)
    detail = wire_model_detail(served, service.catalogue.by_replica(served.name))
    alike = {"replicas"} if detail.replicas is None else None
    return Response(detail.model_dump_json(exclude=alike), media_type=JSON)


_MODEL: dict[int | str, dict[str, Any]] = {
    200: {"model": ModelDetail},
    "default": {"model": Problem, "description": "any other failure"},  # or FastAPI would describe a 422 of its own
}

for method in ("GET", "HEAD"):
    shown = method == "GET"
    router.add_api_route(
        "/v1/models",
        models,
        methods=[method],
        summary="The models",
        responses={200: {"model": Models}},
        include_in_schema=shown,
    )
    router.add_api_route(
        "/v1/models/{model}",
        model,
        methods=[method],
        summary="One model",
        responses=_MODEL | problems(404, 503),
        include_in_schema=shown,
    )
