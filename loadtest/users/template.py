"""Anybody's HTTP, as a template says."""

from collections.abc import Sequence

from clients.headers import Headers, merged
from loadtest.images import Image
from loadtest.samples import OK
from loadtest.template import Template
from loadtest.users.answers import WRONG, Answer, failure_from_http, phases_from_timing
from loadtest.users.http import Connections

Request = tuple[str, bytes, dict[str, str]]
"""Path, body and headers."""


class TemplateWay:
    """To a server at `host`, an URL. Requests are put together beforehand."""

    def __init__(self, host: str, timeout_s: float, template: Template, headers: Headers) -> None:
        self._host, self._timeout_s, self._template, self._headers = host, timeout_s, template, headers
        self._requests: dict[tuple[str, str], Request] = {}

    def models(self) -> list[str]:
        """Nobody can be asked: the template's name, for those that have no {model}."""
        return [self._template.name]

    def prepare(self, models: Sequence[str], images: Sequence[Image]) -> None:
        for model in models:
            for image in images:
                body, headers = self._template.content(model, image.content, image.media_type)
                self._requests[model, image.name] = self._template.path_of(model), body, merged(headers, self._headers)

    def door(self, at_once: int) -> "TemplateDoor":
        return TemplateDoor(Connections(self._host, self._timeout_s, at_once), self._template, self._requests)


class TemplateDoor:
    """A user's."""

    def __init__(self, connections: Connections, template: Template, requests: dict[tuple[str, str], Request]) -> None:
        self._connections, self._template, self._requests = connections, template, requests

    def request_of(self, model: str, image: Image) -> Request:
        """What is sent."""
        return self._requests[model, image.name]

    def ask(self, model: str, image: Image) -> tuple[float, Answer]:
        path, body, headers = self.request_of(model, image)
        ended_s, reply = self._connections.reply(self._template.method, path, body, headers)
        if isinstance(reply, Answer):
            return ended_s, reply
        if reply.status != self._template.status:
            return ended_s, failure_from_http(reply.status, reply.content)
        problem = self._template.problem(reply.content)
        if problem is not None:
            return ended_s, Answer(WRONG, problem, length=len(reply.content))
        return ended_s, Answer(OK, "", 1, phases_from_timing(reply.headers.get("server-timing")), len(reply.content))
