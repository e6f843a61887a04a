"""The short way past the framework's routing: whatever is asked, the answer is the one the framework would give."""

import http.client
import logging
from collections.abc import Callable
from typing import Any

import pytest

from gateway import express
from gateway.gone import CallerGone
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from vision.errors import DeadlineExceeded, Overloaded

Answer = tuple[int, dict[str, str], bytes]
BothWays = Callable[..., tuple[Answer, Answer, bool]]

PHOTO, JPEG = encoded(40, 30), {"content-type": "image/jpeg"}
PREDICT = "/v1/models/colour/predict"
CHANGES = ("date", "server-timing", "content-length")
"""Headers that are another's at another moment."""

PATHS = [
    PREDICT,
    f"{PREDICT}/",
    f"{PREDICT}?top_k=1",
    f"{PREDICT}?top_k=1&top_k=2",
    f"{PREDICT}?nonsense=1",
    f"{PREDICT}%0A",
    f"/{PREDICT}",
    "/v1/models//predict",
    "/v1/models/predict",
    "/v1//models/colour/predict",
    "/v1/models/./colour/predict",
    "/v1/models/colour%2Fpredict",
    "/v1/models/col%2Four/predict",
    "/v1/models/c%6Flour/predict",
    "/v1/models/colour%00/predict",
    "/v1/models/caf%C3%A9/predict",
    "/v1/models/%FF/predict",
    "/v1/models/colour;v=1/predict",
    "/v1/models/nobody/predict",
    "/V1/models/colour/predict",
    "http://elsewhere/v1/models/colour/predict",
]
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "post", "BREW"]
HEADERS: list[dict[str, str]] = [
    {},
    {"content-type": "text/plain"},
    {"content-type": "multipart/form-data; boundary=x"},
    JPEG | {"content-encoding": "gzip"},
    JPEG | {"accept": "image/png"},
    JPEG | {"accept": "text/html"},
    JPEG | {"host": ""},
    JPEG | {"x-forwarded-prefix": "/elsewhere"},
]


def asked(gateway: RunningGateway, method: str, path: str, headers: dict[str, str], body: bytes = PHOTO) -> Answer:
    """Status, headers and body, less what changes from one moment to the next."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read().partition(b',"timings_ms"')[0]
        kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in CHANGES}
        return answer.status, kept, content
    finally:
        connection.close()


@pytest.fixture
def both_ways(faked: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> BothWays:
    """Ask the same twice: as the gateway is, and by the framework alone; and whether the first was short."""
    eventually(lambda: faked.predict("colour", PHOTO).status_code == 200, within_s=10)
    model_of, taken = express.model_of, []

    def noted(scope: Any) -> str | None:
        model = model_of(scope)
        taken.append(model is not None)
        return model

    def ask(*request: Any) -> tuple[Answer, Answer, bool]:
        with monkeypatch.context() as patched:
            patched.setattr(express, "model_of", noted)
            short = asked(faked, *request)
            patched.setattr(express, "model_of", lambda _: None)
            return short, asked(faked, *request), bool(taken and taken.pop())

    return ask


def test_the_same_answers(both_ways: BothWays) -> None:
    """Whatever the path, the method, the headers and the body."""
    requests: list[tuple[Any, ...]] = [("POST", path, JPEG) for path in PATHS]
    requests += [(method, PREDICT, JPEG) for method in METHODS]
    requests += [("POST", PREDICT, headers) for headers in HEADERS]
    requests += [("POST", PREDICT, JPEG, body) for body in (b"", b"no photo")]
    differ: list[object] = []
    short: set[int] = set()
    for request in requests:
        express_answer, framework_answer, is_short = both_ways(*request)
        if express_answer != framework_answer:
            differ.append((request, express_answer, framework_answer))
        if is_short:
            short.add(express_answer[0])
    assert differ == []
    assert short >= {200, 404, 415, 422}


@pytest.mark.parametrize(
    ("error", "status", "logged"),
    [
        (Overloaded("full", retry_after_s=1.2), 429, 0),
        (DeadlineExceeded("too late"), 504, 0),
        (CallerGone(), 499, 0),
        (RuntimeError("the inside"), 500, 1),
        (TimeoutError("whose?"), 500, 1),
    ],
)
def test_the_same_failures(
    both_ways: BothWays,
    faked: RunningGateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    logged: int,
) -> None:
    """Whatever a handler raises; what nobody foresaw is in the log, once."""

    async def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
        patched.setattr(faked.service.predictor, "predict", fails)
        short, framework, is_short = both_ways("POST", PREDICT, JPEG)
        eventually(lambda: caplog.text.count("Traceback (most") >= 2 * logged, within_s=5)
    assert is_short
    assert short == framework
    assert short[0] == status
    assert caplog.text.count("Exception in ASGI application") == 2 * logged
    assert b"inside" not in short[2]
