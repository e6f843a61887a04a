"""HTTP over kept-alive connections, and the gateway's.

geventhttpclient is what Locust's FastHttpUser stands on; without that class's cookies, redirects and events a request
costs a third of the CPU, which would be in the latencies (docs/13-load-tests.md has the figures).
"""

import time
from collections.abc import Mapping, Sequence

from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from clients.wire import Reply, models_from_reply, models_request, predict_request
from loadtest.images import Image
from loadtest.users.answers import CONNECTION, TIMEOUT, Answer, answer_from_http
from vision.errors import BackendUnavailable, InvalidArgument

BLOCK_BYTES = 64 << 10


class Connections:
    """Up to `at_once` to one server, taken and given back by requests."""

    def __init__(self, host: str, timeout_s: float, at_once: int) -> None:
        try:
            self._client = HTTPClient.from_url(
                host,
                concurrency=at_once,
                connection_timeout=timeout_s,
                network_timeout=timeout_s,
                block_size=BLOCK_BYTES,
            )
        except ValueError as exc:
            raise InvalidArgument(f"expected an URL such as http://127.0.0.1:8080, got {host!r}: {exc}") from exc

    def reply(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[float, Reply | Answer]:
        """When it ended, and what came; or why nothing did."""
        try:
            response = self._client.request(method, path, content, headers)
            body = bytes(response.read())
            ended_s = time.monotonic()
            timing = response.get("server-timing")
        except (OSError, HTTPParseError) as exc:  # also what it raises for a connection that was closed
            return time.monotonic(), failure_from_error(exc)
        given = {"server-timing": timing} if isinstance(timing, str) else {}
        return ended_s, Reply(response.status_code, given, body)


class HttpWay:
    """To a gateway at `host`, an URL."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self._host, self._timeout_s = host, timeout_s

    def models(self) -> list[str]:
        _, reply = Connections(self._host, self._timeout_s, 1).reply("GET", models_request().path)
        if isinstance(reply, Answer):
            raise BackendUnavailable(f"nobody answers at {self._host}: {reply.detail}; is the gateway running?")
        return [model.name for model in models_from_reply(reply) if model.ready]

    def prepare(self, models: Sequence[str], images: Sequence[Image]) -> None:
        """Nothing: a photo is sent as it is."""

    def door(self, at_once: int) -> "HttpDoor":
        return HttpDoor(Connections(self._host, self._timeout_s, at_once))


class HttpDoor:
    """A user's."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._paths: dict[str, str] = {}

    def ask(self, model: str, image: Image) -> tuple[float, Answer]:
        path = self._paths.get(model)
        if path is None:
            path = self._paths[model] = predict_request(image.content, model).path
        ended_s, reply = self._connections.reply("POST", path, image.content, {"Content-Type": image.media_type})
        if isinstance(reply, Answer):
            return ended_s, reply
        timing = reply.headers.get("server-timing")
        return ended_s, answer_from_http(reply.status, reply.content, timing, model, image)


def failure_from_error(error: Exception) -> Answer:
    """Of a request without an answer."""
    kind = TIMEOUT if isinstance(error, TimeoutError) or "timed out" in str(error) else CONNECTION
    return Answer(kind, f"{type(error).__name__}: {error}")
