"""The short way for the request that is made all the time: past the framework's routing, to the same handler."""

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http_errors import response_from_exception
from gateway.predict import predict

BEFORE, AFTER = "/v1/models/", "/predict"


class Express:
    """An application around the whole one. What it answers is answered in the same words; the rest it passes on."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    @property
    def state(self) -> State:
        """The application's."""
        return self._app.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        model = model_of(scope)
        if model is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        try:
            response: ASGIApp = await predict(Request(scope, receive), model)
        except Exception as exc:
            response, is_known = response_from_exception(exc, scope["path"])
            await response(scope, receive, send)
            if not is_known:
                raise  # the server logs it
            return
        await response(scope, receive, send)


def model_of(scope: Scope) -> str | None:
    """The model that a prediction is asked of; None where anything else is."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path: str = scope["path"]
    if not path.startswith(BEFORE) or not path.endswith(AFTER):
        return None
    model = path[len(BEFORE) : -len(AFTER)]
    return model if model and "/" not in model else None
