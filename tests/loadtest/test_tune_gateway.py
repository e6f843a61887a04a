"""A gateway of the search's own."""

import shlex
import subprocess
import sys

import httpx
import pytest

from loadtest.tune.candidate import Candidate
from loadtest.tune.gateway_process import OwnGateway
from tests.gateway.serving import answers, eventually, no_settings
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model
from vision.errors import BackendUnavailable

MODEL = "own_gateway"
PYTHON = shlex.quote(sys.executable)


@pytest.mark.triton
def test_it_is_started_with_the_settings_and_ended(triton: LocalTriton) -> None:
    """Each change of settings is another process; the same settings are not; after the end none answers."""
    write_model(triton.repository, MODEL, colour_contract(), colour_graph())
    triton.load(MODEL)
    with no_settings(), OwnGateway(f"{PYTHON} -m gateway", triton.address, MODEL) as gateway:
        gateway.serve(Candidate(workers=1, permits=4))
        assert "gateway_permits 4.0" in httpx.get(f"{gateway.url}/metrics").text
        first = gateway._process
        gateway.serve(Candidate(workers=1, permits=4))
        assert gateway._process is first
        gateway.serve(Candidate(workers=1, permits=8))
        assert "gateway_permits 8.0" in httpx.get(f"{gateway.url}/metrics").text
        assert first is not None
        assert first.poll() is not None
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{gateway.url}/health/live")


def test_a_command_that_serves_nothing_is_told(triton: LocalTriton) -> None:
    """With what it said."""
    command = f"{PYTHON} -c 'raise SystemExit(\"not today\")'"
    with OwnGateway(command, triton.address, MODEL) as gateway, pytest.raises(BackendUnavailable, match="not today"):
        gateway.serve(Candidate(workers=1, permits=4))


def test_a_command_that_is_none_is_told_on_a_line(triton: LocalTriton) -> None:
    """No traceback of what starts it."""
    with (
        OwnGateway("no-such-gateway --now", triton.address, MODEL) as gateway,
        pytest.raises(BackendUnavailable) as told,
    ):
        gateway.serve(Candidate(workers=1, permits=4))
    assert "no-such-gateway cannot be started: No such file or directory" in told.value.detail
    assert "Traceback" not in told.value.detail


def test_it_ends_with_a_search_that_is_killed(triton: LocalTriton) -> None:
    """SIGKILL leaves no gateway behind."""
    write_model(triton.repository, MODEL, colour_contract(), colour_graph())
    triton.load(MODEL)
    code = f"""
import sys, time
from loadtest.tune.candidate import Candidate
from loadtest.tune.gateway_process import OwnGateway
gateway = OwnGateway({PYTHON + " -m gateway"!r}, {triton.address!r}, {MODEL!r})
gateway.serve(Candidate(workers=1))
print(gateway.url, flush=True)
time.sleep(60)
"""
    with no_settings(), subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as search:
        assert search.stdout is not None
        url = search.stdout.readline().strip()
        assert answers(url)
        search.kill()
    eventually(lambda: not answers(url), within_s=10)
