"""`/health/live`, `/health/ready` and `/metrics`: for those who watch."""

import json

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from gateway.media_types import JSON
from gateway.responses import problems
from gateway.service import Service
from vision.errors import BackendUnavailable, ModelNotReady

router = APIRouter(tags=["operation"])


async def live(request: Request) -> Response:
    """The process answers."""
    return Response('{"status": "live"}', media_type=JSON)


async def ready(request: Request) -> Response:
    """A Triton can be reached and at least one model is ready; if not, what is missing. Which replicas are away."""
    service = _service(request)
    if service.draining.is_set():
        raise BackendUnavailable("not ready: this gateway is about to end; ask another")
    catalogue = service.catalogue
    if (unavailable := catalogue.unavailable) is not None:
        raise BackendUnavailable(f"not ready: {unavailable.detail}", unavailable.retry_after_s)
    states = {served.name: "ready" if served.ready else served.problem for served in catalogue.models()}
    if catalogue.ready_count() == 0:
        raise ModelNotReady(f"no model is ready at {service.settings.triton}: {_missing(states, catalogue.unlisted)}")
    problem = {"problem": catalogue.unlisted} if catalogue.unlisted else {}
    away = {"away": replicas} if (replicas := catalogue.away()) else {}
    return Response(json.dumps({"status": "ready", "models": states} | problem | away), media_type=JSON)


async def metrics(request: Request) -> Response:
    """Counters and times for Prometheus."""
    content = await _service(request).metrics.exposition.shown()
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST})


def _missing(states: dict[str, str | None], unlisted: str | None) -> str:
    missing = [*([unlisted] if unlisted else []), *(f"{name}: {problem}" for name, problem in states.items())]
    return "; ".join(missing) or "the repository is empty; import a model with `python -m builder import`"


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


for method in ("GET", "HEAD"):
    shown = method == "GET"
    router.add_api_route("/health/live", live, methods=[method], include_in_schema=shown)
    router.add_api_route("/health/ready", ready, methods=[method], responses=problems(503), include_in_schema=shown)
    router.add_api_route("/metrics", metrics, methods=[method], include_in_schema=shown)
