"""The application: HTTP's routes around one service, and gRPC beside them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway import health, http_errors, models, predict, websocket
from gateway.express import Express
from gateway.grpc.server import serving
from gateway.oip import http as oip_http
from gateway.service import running_service
from gateway.settings import Settings
from vision import __version__

DESCRIPTION = """Fine-tuned vision models, answering photos.

Every failure is `{"error": kind, "detail": message}`; the message says what was expected, what came, and what to do.
"""


def app_from_settings(settings: Settings) -> Express:
    """The application. It reaches for Triton when it starts, and starts without it, too."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_service(settings) as service, serving(service) as running_grpc:
            app.state.service, app.state.grpc = service, running_grpc
            yield

    # FastAPI's own /docs loads its scripts from the internet, which a Jetson in a field does not have.
    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        redirect_slashes=False,  # it would send callers on to whatever their Host header says
        static_url="/docs/static",
        title="jetserve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        telemetry={
            "auto_configure": False,
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # ours: gateway/spans.py
    )
    app.include_router(predict.router)
    app.include_router(models.router)
    app.include_router(health.router)
    app.include_router(oip_http.router)
    app.include_router(websocket.router)
    app.add_route("/", _front, include_in_schema=False)
    http_errors.install(app)
    return Express(app)


async def _front(_: Request) -> Response:
    return RedirectResponse("docs")
