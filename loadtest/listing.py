"""What a gateway serves, asked with the headers that a plan has."""

from dataclasses import replace
from types import TracebackType
from typing import Self

from clients.deadline import Deadline
from clients.io_sync import HttpClient
from clients.results import Model, ModelDetail
from clients.wire import Reply, Request, model_from_reply, model_request, models_from_reply, models_request
from loadtest.headers import Headers

TIMEOUT_S = 10.0


class Listing:
    """Of the gateway at `url`, in a `with`. What it raises are the errors of `vision.errors`."""

    def __init__(self, url: str, headers: Headers) -> None:
        self._headers = headers
        self._http = HttpClient(url.rstrip("/"))

    def models(self) -> list[Model]:
        return models_from_reply(self._reply(models_request()))

    def model(self, name: str) -> ModelDetail:
        return model_from_reply(self._reply(model_request(name)))

    def _reply(self, request: Request) -> Reply:
        asked = replace(request, headers={**request.headers, **self._headers})
        return self._http.exchange(asked, Deadline(TIMEOUT_S))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
