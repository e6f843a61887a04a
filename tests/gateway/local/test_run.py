"""A whole local run: real Triton, real gateway, started and ended as `make` does it."""

import os
import re
import signal
import subprocess
import sys

import pytest

from clients import GatewayClient
from tests.gateway.local.runs import LocalRun, descendants, wait_for_end, wait_for_line
from tests.local_triton import ROOT
from tests.tiny_models import colour_contract, write_model
from tests.triton.situations import SCRIPT

pytestmark = pytest.mark.triton

PHOTO = ROOT / "tests" / "assets" / "balloons.jpg"


def test_background(local_run: LocalRun) -> None:
    """In the background it comes back once it answers, is found by the next command, and ends whole."""
    status, said = local_run.call("run", "--background")
    assert status == 0, said
    assert re.search(r"^colour\s+1\s+ready", said, re.MULTILINE)
    assert re.search(r"^balloons.jpg\s+(blue|green|red)\s+0\.\d{3}$", said, re.MULTILINE)
    assert f"ready: {local_run.address}  docs: {local_run.address}/docs  gRPC: 127.0.0.1:" in said
    with GatewayClient(local_run.address) as client:
        assert client.predict(PHOTO, "colour").classes
    assert local_run.call("run", "--background") == (
        0,
        f"already running at {local_run.address} (process {local_run.pid('supervisor')})\n",
    )
    status, said = local_run.call("run")
    assert (status, f"already running at {local_run.address}" in said) == (1, True)
    assert local_run.call("status")[0] == 0
    processes = descendants(local_run.pid("supervisor"))
    assert len(processes) == 4  # the supervisor, the gateway, Triton and the model's stub
    assert local_run.call("stop") == (0, "stopped\n")
    wait_for_end(processes)
    assert "All models are stopped" in (local_run.folder / "run" / "triton.log").read_text()
    assert local_run.call("status")[0] == 3
    assert local_run.call("stop") == (0, "not running\n")


def test_signal_while_starting(local_run: LocalRun) -> None:
    """Ctrl-C before it is ready ends it as well, and is no failure."""
    with local_run.popen("run") as run:
        wait_for_line(run, "^waiting for Triton")
        processes = descendants(run.pid)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)
    assert run.returncode == 0
    wait_for_end(processes)


def test_second_signal(local_run: LocalRun) -> None:
    """A second signal does not wait for a gateway that does not end."""
    with local_run.running() as run:
        processes = descendants(run.pid)
        os.kill(local_run.pid("gateway"), signal.SIGSTOP)
        run.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(timeout=1)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=15)  # the gateway would be waited for longer
    assert run.returncode == 0
    wait_for_end(processes)


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (dict.fromkeys(("http_proxy", "all_proxy"), "http://127.0.0.1:9") | {"no_proxy": "", "NO_PROXY": ""}, "ready"),
        ({"GATEWAY_HOST": "::1"}, r"ready: http://\[::1\]:"),
        ({"GATEWAY_HOST": "::"}, r"ready: http://\[::1\]:"),
        ({"GATEWAY_MAX_PIXELS": "10"}, "note: colour gave no prediction for balloons.jpg: .*pixels"),
    ],
)
def test_surroundings(local_run: LocalRun, environment: dict[str, str], line: str) -> None:
    """Proxies are not asked for this machine, IPv6 is an address, and a refused picture is no reason to end."""
    local_run.environment = environment
    status, said = local_run.call("run", "--background")
    assert status == 0, said
    assert re.search(f"^{line}", said, re.MULTILINE)
    assert local_run.call("stop") == (0, "stopped\n")


def test_broken_model(local_run: LocalRun) -> None:
    """A model that fails to load is shown with its reason; the others are served."""
    write_model(local_run.repository, "broken", colour_contract(), script=SCRIPT, parameters={"refuse": "1"})
    status, said = local_run.call("run", "--background")
    assert status == 0, said
    assert re.search(r"^broken\s+1\s+not ready: .*RuntimeError: these weights cannot be read", said, re.MULTILINE)
    assert re.search(r"^colour\s+1\s+ready", said, re.MULTILINE)


def test_start_that_fails(local_run: LocalRun) -> None:
    """In the background, too, a start that fails says why and is a failure."""
    ports = local_run.ports | {"TRITON_HTTP_PORT": local_run.ports["GATEWAY_PORT"]}
    status, said = LocalRun(local_run.folder, ports).call("run", "--background")
    assert status == 2
    assert "GATEWAY_PORT and TRITON_HTTP_PORT are both" in said
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(local_run.ports["TRITON_GRPC_PORT"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as intruder:
        wait_for_line(intruder, "Serving HTTP")
        status, said = local_run.call("run", "--background")
        intruder.kill()
    assert status == 2
    assert f"by process {intruder.pid} (" in said
    assert said.rstrip().endswith("choose another port with TRITON_GRPC_PORT")
