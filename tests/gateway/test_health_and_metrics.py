"""What those who watch a gateway see."""

import asyncio
import math
import subprocess
import sys

import pytest

from clients.phases import Phases
from clients.triton.client import TritonClient
from gateway.catalogue import Catalogue
from gateway.gone import CallerGone
from gateway.metrics import Counted, Metrics
from gateway.permits import Permits
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.phases import UNDIVIDED
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway, samples
from tests.ports import free_ports
from tests.tiny_models import colour_contract
from vision import __version__


def test_the_process_lives_and_is_ready(faked: RunningGateway) -> None:
    """With Triton there and models ready."""
    assert faked.http.get("/health/live").json() == {"status": "live"}
    ready = faked.http.get("/health/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "models": {"colour": "ready", "spot": "ready"}},
    )


def test_without_triton_it_starts_lives_and_says_what_is_missing() -> None:
    """The order in which the two start does not matter."""
    [port] = free_ports(1)
    with running_gateway(f"127.0.0.1:{port}") as gateway:
        assert gateway.http.get("/health/live").status_code == 200
        ready = gateway.http.get("/health/ready")
        assert (ready.status_code, ready.json()["error"]) == (503, "backend_unavailable")
        assert f"127.0.0.1:{port}" in ready.json()["detail"]
        assert ready.headers["retry-after"]
        response = gateway.predict("colour", encoded(40, 40))
        assert (response.status_code, response.json()["error"]) == (503, "backend_unavailable")


def test_one_model_that_failed_does_not_make_the_rest_unready(faked: RunningGateway, fake: FakeTriton) -> None:
    """Triton calls the whole server unready then; the gateway decides by model."""
    fake.models["spot"].state, fake.models["spot"].reason = "UNAVAILABLE", "no such file"
    eventually(lambda: "no such file" in faked.http.get("/health/ready").text, within_s=10)
    assert faked.http.get("/health/ready").status_code == 200
    assert faked.predict("colour", encoded(40, 40)).status_code == 200
    fake.models["colour"].state = "UNAVAILABLE"
    eventually(lambda: faked.http.get("/health/ready").status_code == 503, within_s=10)
    assert faked.http.get("/health/ready").json()["error"] == "model_not_ready"
    fake.models.clear()
    eventually(lambda: "python -m builder import" in faked.http.get("/health/ready").text, within_s=10)


def test_requests_are_counted_by_how_they_end(faked: RunningGateway) -> None:
    """By model, transport and outcome; phases only where there was an answer."""
    for _ in range(2):
        faked.predict("colour", encoded(40, 40))
    faked.predict("colour", b"text")
    found = samples(faked)
    assert found["gateway_requests_total", "colour", "ok", "http"] == 2
    assert found["gateway_requests_total", "colour", "invalid_image", "http"] == 1
    for phase in UNDIVIDED:
        assert found["gateway_phase_seconds_count", "colour", phase] == 2
    assert found["gateway_permits",] == 16
    assert found["gateway_permits_taken",] == found["gateway_requests_in_flight",] == 0
    assert found["gateway_triton_reachable",] == 1
    assert found["gateway_models_ready",] == 2


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [(CallerGone(), "caller_gone"), (asyncio.CancelledError(), "caller_gone"), (KeyError(), "internal")],
)
def test_a_request_that_is_cancelled_is_no_fault_of_the_gateway(ending: BaseException, outcome: str) -> None:
    """As when the gateway stops: an alarm on `internal` must mean a fault."""
    metrics = Metrics(Permits(1), Catalogue(TritonClient("127.0.0.1:1"), refresh_s=1))
    with pytest.raises(type(ending)), metrics.request(Counted("colour"), "http", Phases()):
        raise ending
    assert f'outcome="{outcome}",transport="http"}} 1.0' in metrics.exposition.text().decode()


def test_the_service_needs_no_transport() -> None:
    """Another transport than HTTP stands on it as well."""
    code = "import sys, gateway.service; print([m for m in ('starlette', 'fastapi', 'uvicorn') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_callers_cannot_make_time_series(faked: RunningGateway) -> None:
    """Names that no model has share one label."""
    for number in range(20):
        faked.predict(f"made-up-{number}", b"x")
    found = samples(faked)
    assert found["gateway_requests_total", "-", "unknown_model", "http"] == 20
    assert not any("made-up" in part for key in found for part in key)


def test_each_model_says_whether_it_can_be_asked(faked: RunningGateway, fake: FakeTriton) -> None:
    """1 or 0 by name; nothing, or no number any more, for what Triton was not told to load, or has no more."""

    def told(model: str) -> float | None:
        return samples(faked).get(("gateway_model_ready", model))

    assert (told("colour"), told("spot")) == (1, 1)
    fake.models["never"] = FakeModel(colour_contract(), state="")
    fake.models["spot"].state, fake.models["spot"].reason = "UNAVAILABLE", "no such file"
    eventually(lambda: told("spot") == 0, within_s=10)
    assert (told("colour"), told("never")) == (1, None)
    fake.models["spot"].reason = "unloaded"
    del fake.models["colour"]
    eventually(lambda: math.isnan(told("spot") or 0) and math.isnan(told("colour") or 0), within_s=10)
    assert samples(faked)["gateway_build_info", __version__] == 1


def test_two_gateways_in_one_process_count_apart(faked: RunningGateway, fake: FakeTriton) -> None:
    """Metrics hang on no global registry."""
    with running_gateway(fake.address) as other:
        faked.predict("colour", encoded(40, 40))
        assert ("gateway_requests_total", "colour", "ok", "http") not in samples(other)
