"""HTTP over kept-alive connections, and the gateway's.

geventhttpclient is what Locust's FastHttpUser stands on, whose cookies, redirects and events would take 0.15 ms more of
the CPU for each request, and be in its latency (docs/decisions/0026-open-loop.md).
"""

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from urllib.parse import urlsplit

import gevent.socket
from gevent import Timeout
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from clients.headers import Headers
from clients.wire import Reply, models_from_reply, models_request, predict_request
from loadtest.images import Image
from loadtest.users.answers import CONNECTION, TIMEOUT, Answer, answer_from_http
from vision.errors import BackendUnavailable, InvalidArgument

NONE: Headers = MappingProxyType({})
BLOCK_BYTES = 64 << 10
SLACK_S = 0.05
"""Beyond a request's timeout, which sockets keep by themselves, of each piece: they leave a tidier connection."""


class Connections:
    """Up to `at_once` to one server, taken and given back by requests; a path in `host` is before all others."""

    def __init__(self, host: str, timeout_s: float, at_once: int, headers: Headers = NONE) -> None:
        try:
            self._client = HTTPClient.from_url(
                host,
                headers=dict(headers),
                concurrency=at_once,
                connection_timeout=timeout_s,
                network_timeout=timeout_s,
                block_size=BLOCK_BYTES,
            )
        except ValueError as exc:
            raise InvalidArgument(f"expected an URL such as http://127.0.0.1:8080, got {host!r}: {exc}") from exc
        # The last piece of a photo would wait until the pieces before it are acknowledged: a round trip more.
        self._client._connection_pool.after_connect = _without_delay  # type: ignore[method-assign]
        self._prefix, self._timeout_s = urlsplit(host).path.rstrip("/"), timeout_s

    def reply(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[float, Reply | Answer]:
        """When it ended, and what came; or why nothing did."""
        limit = Timeout.start_new(self._timeout_s + SLACK_S)  # of the whole: a server may send byte by byte
        try:
            response = self._client.request(method, self._prefix + path, content, headers)
            body = bytes(response.read())
            ended_s = time.monotonic()
            timing = response.get("server-timing")
        except (OSError, HTTPParseError) as exc:  # also what it raises for a connection that was closed
            return time.monotonic(), failure_from_error(exc, self._timeout_s)
        except Timeout as exc:
            if exc is not limit:
                raise
            return time.monotonic(), too_late(self._timeout_s)
        finally:
            limit.close()
        given = {"server-timing": timing} if isinstance(timing, str) else {}
        return ended_s, Reply(response.status_code, given, body)

    def close(self) -> None:
        self._client.close()


class HttpWay:
    """To a gateway at `host`, an URL."""

    def __init__(self, host: str, timeout_s: float, headers: Headers = NONE) -> None:
        self._host, self._timeout_s, self._headers = host, timeout_s, headers

    def models(self) -> list[str]:
        with closing(Connections(self._host, self._timeout_s, 1, self._headers)) as connections:
            _, reply = connections.reply("GET", models_request().path)
        if isinstance(reply, Answer):
            raise BackendUnavailable(f"nobody answers at {self._host}: {reply.detail}; is the gateway running?")
        return [model.name for model in models_from_reply(reply) if model.ready]

    def prepare(self, models: Sequence[str], images: Sequence[Image]) -> None:
        """Nothing: a photo is sent as it is."""

    def door(self, at_once: int) -> "HttpDoor":
        return HttpDoor(Connections(self._host, self._timeout_s, at_once, self._headers))


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


def _without_delay(sock: gevent.socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def failure_from_error(error: Exception, timeout_s: float) -> Answer:
    """Of a request without an answer. Which timer was first, a socket's or the request's, is chance, and not told."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return too_late(timeout_s)
    return Answer(CONNECTION, f"{type(error).__name__}: {error}")


def too_late(timeout_s: float) -> Answer:
    """Of a request that took longer than it may."""
    return Answer(TIMEOUT, f"not answered to the end within {timeout_s:g} s")
