"""Triton or the gateway ends by itself: real ones, which are started again, or not any more."""

import os
import re
import signal

import pytest

from clients import GatewayClient
from gateway.local.restarts import MOST_ENDS
from gateway.local.supervisor import TRITON_GRACE_S
from tests.gateway.local.runs import LocalRun, descendants, said_until, wait_for_end, wait_for_line
from tests.gateway.serving import eventually
from tests.local_triton import ROOT
from tests.tiny_models import colour_contract, colour_graph, write_model

pytestmark = pytest.mark.triton

PHOTO = ROOT / "tests" / "assets" / "balloons.jpg"
STARTED_AGAIN = "^waiting for Triton|^ready again: "
"""Whichever is first: where this side stands still, Triton is there at the first look."""
LAST_WORDS = {"triton": "Started GRPCInferenceService", "gateway": "Application startup complete"}


def lists(client: GatewayClient, name: str) -> bool:
    return name in {model.name for model in client.models() if model.ready}


@pytest.mark.parametrize(("name", "other"), [("triton", "gateway"), ("gateway", "triton")])
def test_end_of_a_child(local_run: LocalRun, name: str, other: str) -> None:
    """Who dies is started again, Triton with all models there are now, and the other goes on; no log is lost.

    Who takes its place dies with a supervisor that is killed.
    """
    with local_run.running() as run:
        ended, unharmed = descendants(local_run.pid(name)), descendants(local_run.pid(other))
        write_model(local_run.repository, "late", colour_contract(), colour_graph())
        for stub in ended[1:]:
            os.kill(stub, signal.SIGSTOP)  # it holds what is Triton's, and does not see its end
        os.kill(ended[0], signal.SIGKILL)
        said = "".join(said_until(run, "^ready again: "))
        log = local_run.folder / "run" / f"{name}.log"
        assert f"{name} ended by SIGKILL and is started again; the end of {log}:" in said
        assert LAST_WORDS[name] in said
        with GatewayClient(local_run.address, retries=0) as client:
            assert client.predict(PHOTO, "colour").classes
            if name == "triton":
                eventually(lambda: client.predict(PHOTO, "late").classes if lists(client, "late") else (), within_s=30)
        before, mark, after = log.read_text().partition(f"--- {name} is started again")
        assert LAST_WORDS[name] in before
        assert LAST_WORDS[name] in after, mark
        assert descendants(local_run.pid(other))[0] == unharmed[0]
        wait_for_end(ended)
        processes = descendants(run.pid)
        assert set(unharmed) < set(processes)
        run.kill()
    wait_for_end(processes)


def test_ends_again_and_again(local_run: LocalRun) -> None:
    """Who ends three times in a row soon after its start ends the run: a failure, which says why, and nothing left."""
    with local_run.running() as run:
        processes = descendants(run.pid)
        for _ in range(MOST_ENDS - 1):
            os.kill(local_run.pid("triton"), signal.SIGKILL)
            wait_for_line(run, STARTED_AGAIN)
            processes += descendants(run.pid)
        os.kill(local_run.pid("triton"), signal.SIGKILL)
        said, _ = run.communicate(timeout=30)
    assert run.returncode == 1
    assert re.search("^triton ended by SIGKILL, 3 times in a row within 60 s .* not started again; the end of ", said)
    wait_for_end(processes)


def test_end_before_it_was_ready(local_run: LocalRun) -> None:
    """What cannot start, for a wrong setting, say, is not started again."""
    local_run.environment = {"GATEWAY_MAX_PIXELS": "many"}
    status, said = local_run.call("run")
    assert status == 1
    assert re.search("^gateway ended with status 2; the end of .*\n.*GATEWAY_MAX_PIXELS", said, re.MULTILINE)
    assert said.count("gateway ended") == 1


def test_not_ready_while_one_is_started_again(local_run: LocalRun) -> None:
    """Meanwhile the run is not ready for `status`, and whoever would start it waits for it."""
    with local_run.running() as run:
        gateway = local_run.pid("gateway")
        os.kill(gateway, signal.SIGSTOP)  # so that it takes until we have looked
        os.kill(local_run.pid("triton"), signal.SIGKILL)
        wait_for_line(run, "^triton ended by SIGKILL")
        status, said = local_run.call("status")
        assert (status, said.partition(":")[0]) == (3, "starting, starting again or ending")
        with local_run.popen("run", "--background") as second:
            wait_for_line(second, "^waiting for the run that is starting, starting again or ending")
            os.kill(gateway, signal.SIGCONT)
            assert "already running at" in second.communicate(timeout=60)[0]
        assert second.returncode == 0
        assert local_run.call("status")[0] == 0


def test_signals_while_one_is_started_again(local_run: LocalRun) -> None:
    """A signal ends the run then, too, and a second one does not wait for a Triton that neither starts nor ends."""
    with local_run.running() as run:
        gateway = local_run.pid("gateway")
        os.kill(local_run.pid("triton"), signal.SIGKILL)
        wait_for_line(run, STARTED_AGAIN)
        processes = descendants(run.pid)
        os.kill(local_run.pid("triton"), signal.SIGSTOP)
        run.send_signal(signal.SIGTERM)
        wait_for_end([gateway])
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=TRITON_GRACE_S - 2)
    assert run.returncode == 0
    wait_for_end(processes)


def test_workers_of_a_gateway_that_ended(local_run: LocalRun) -> None:
    """Workers that outlive their gateway hold its port: it is started again once they have ended."""
    local_run.environment = {"GATEWAY_WORKERS": "2"}
    with local_run.running() as run:
        # It is ready with the first of them; the other may not have the port yet.
        log = local_run.folder / "run" / "gateway.log"
        eventually(lambda: len(re.findall(r"worker \d \(process \d+\) serves", log.read_text())) == 2, within_s=60)
        gateway, *_, worker = descendants(local_run.pid("gateway"))
        os.kill(worker, signal.SIGSTOP)
        try:
            os.kill(gateway, signal.SIGKILL)
            wait_for_line(run, "^waiting to start gateway again: port .* is not free: .* by process .*gateway.worker")
        finally:
            os.kill(worker, signal.SIGCONT)
        wait_for_line(run, "^ready again: ")
        wait_for_end([worker])


def test_killed_supervisor(local_run: LocalRun) -> None:
    """One that is killed at such a moment, too, leaves nobody behind; the next run starts at once on the same ports."""
    with local_run.running() as run:
        os.kill(local_run.pid("triton"), signal.SIGKILL)
        wait_for_line(run, STARTED_AGAIN)
        processes = descendants(run.pid)
        run.kill()
    wait_for_end(processes)
    status, said = local_run.call("run", "--background")
    assert status == 0, said
