"""Every failure has its status and the one wire form."""

import logging

import httpx
import pytest
from fastapi import FastAPI

from gateway import http_errors
from gateway.http_errors import STATUS_BY_KIND, response_from_error
from tests.gateway.serving import RunningGateway, eventually
from vision.errors import CapacityError, Overloaded, wire_errors

pytestmark = pytest.mark.anyio


def test_the_table_covers_the_tree_and_nothing_else() -> None:
    """A new kind of error without a status must not reach a user as a 500."""
    assert STATUS_BY_KIND.keys() == wire_errors().keys()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_image", 422),
        ("invalid_argument", 422),
        ("unsupported_media_type", 415),
        ("too_large", 413),
        ("unauthorized", 401),
        ("forbidden", 403),
        ("unknown_model", 404),
        ("unknown_path", 404),
        ("method_not_allowed", 405),
        ("overloaded", 429),
        ("rate_limited", 429),
        ("model_not_ready", 503),
        ("backend_unavailable", 503),
        ("deadline_exceeded", 504),
        ("backend_failure", 502),
        ("internal", 500),
    ],
)
def test_each_kind_has_the_status_that_is_promised(kind: str, status: int) -> None:
    """Statuses are an interface: clients and proxies decide by them whether to try again."""
    response = response_from_error(wire_errors()[kind]("what to do"))
    assert response.status_code == status
    assert response.body == b'{"error": "%b", "detail": "what to do"}' % kind.encode()
    assert ("retry-after" in response.headers) == issubclass(wire_errors()[kind], CapacityError)


def test_retry_after_is_in_whole_seconds_and_never_too_soon() -> None:
    """RFC 9110 10.2.3."""
    assert response_from_error(Overloaded("full", retry_after_s=1.2)).headers["retry-after"] == "2"


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    http_errors.install(app)

    @app.get("/number")
    async def number(n: int) -> int:
        return 1 // n

    return app


@pytest.fixture
def http(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_the_frameworks_own_failures_take_our_form(http: httpx.AsyncClient) -> None:
    """Unknown paths, methods, and parameters that FastAPI refuses."""
    async with http:
        missing, method, wrong = await http.get("/nmber"), await http.post("/number"), await http.get("/number?n=x")
    assert (missing.status_code, missing.json()["error"]) == (404, "unknown_path")
    assert "/nmber" in missing.json()["detail"]
    assert (method.status_code, method.json()["error"]) == (405, "method_not_allowed")
    assert "takes GET" in method.json()["detail"]
    assert "GET" in method.headers["allow"]
    assert (wrong.status_code, wrong.json()["error"]) == (422, "invalid_argument")
    assert "n='x'" in wrong.json()["detail"]


async def test_the_unforeseen_is_a_500_that_leaks_nothing(http: httpx.AsyncClient) -> None:
    """The caller learns that it is our fault, and not what our code looks like."""
    async with http:
        response = await http.get("/number?n=0")
    assert (response.status_code, response.json()["error"]) == (500, "internal")
    assert "Zero" not in response.text


def test_the_unforeseen_is_logged_with_its_traceback(
    faked: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the gateway goes on."""

    async def broken() -> bytes:
        raise RuntimeError("the inside")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(faked.service.metrics.exposition, "shown", broken)
        response = faked.http.get("/metrics")
        eventually(lambda: "the inside" in caplog.text, within_s=5)
    assert "Traceback" in caplog.text
    assert (response.status_code, response.json()["error"]) == (500, "internal")
    assert "the inside" not in response.text
    assert faked.http.get("/metrics").status_code == 200


def test_an_endpoint_that_answers_get_says_it_answers_head(faked: RunningGateway) -> None:
    """HEAD is GET without its body, and 405 lists both."""
    assert faked.http.delete("/v1/models").headers["allow"] == "GET, HEAD"
    for path in ("/v1/models", "/v1/models/spot", "/health/live", "/health/ready", "/metrics"):
        head = faked.http.head(path)
        assert head.status_code == 200
        assert head.content == b""
        assert int(head.headers["content-length"]) > 0
