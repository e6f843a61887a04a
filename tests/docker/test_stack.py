"""The stack at work: what it answers, what it may do, and what comes after a death."""

import json
import os
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.grpc
from websockets.sync.client import connect

from loadtest import record
from tests.docker.asking import FOUND, JPEG, PREDICT, balloons, by_shared_memory, metrics
from tests.docker.documents import block_of_guide, curl_of_readme
from tests.docker.engine import PAST_PROXIES, Stack, docker
from tests.gateway.photos import BALLOONS
from tests.gateway.serving import eventually

pytestmark = pytest.mark.docker

BACK_S, MAPPED_S = 30.0, 60.0
"""A Triton that is slow to map shared memory, as a busy machine may be, is asked again after half a minute."""
SERVICES = ["triton", "gateway"]
SHM = "/dev/shm"  # noqa: S108 - in containers
WRITABLE = ["/tmp", SHM]  # noqa: S108


def test_the_readme(stack: Stack) -> None:
    """Its first curl gives detections, and the photo has gone through shared memory."""
    eventually(lambda: goes_through_shared_memory(stack), within_s=MAPPED_S)
    before = by_shared_memory(stack)
    answer = stack.shell(curl_of_readme().replace("localhost:8080", f"127.0.0.1:{stack.http_port}"))
    assert len(json.loads(answer)["results"][0]["detections"]) == FOUND
    assert by_shared_memory(stack) == before + 1


def test_a_picture(stack: Stack) -> None:
    """The photo with its boxes drawn, which takes a font."""
    request = urllib.request.Request(stack.url + PREDICT, BALLOONS.read_bytes(), JPEG | {"accept": "image/png"})
    with PAST_PROXIES.open(request, timeout=30) as answer:
        drawn = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    photo = cv2.imread(str(BALLOONS))
    assert drawn is not None
    assert photo is not None
    assert drawn.shape == photo.shape
    assert np.count_nonzero((cv2.absdiff(drawn, photo) > 100).any(axis=2)) > 1000


def test_grpc(stack: Stack) -> None:
    """NVIDIA's client, on the second port."""
    image = tritonclient.grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([BALLOONS.read_bytes()], dtype=object))
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{stack.grpc_port}") as client:
        assert client.infer("balloon", [image]).as_numpy("boxes").shape == (1, FOUND, 4)


def test_a_frame(stack: Stack) -> None:
    """One frame in over WebSocket, what is on it out."""
    address = f"ws://127.0.0.1:{stack.http_port}/v1/models/balloon/stream"
    with connect(address, proxy=None) as stream:
        stream.send(BALLOONS.read_bytes())
        assert len(json.loads(stream.recv(timeout=30))["results"][0]["detections"]) == FOUND


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_container_may_do(service: str, stack: Stack) -> None:
    """No root, no capabilities and no way to any, no writing but to /tmp and shared memory, limits, an init."""
    status = dict(
        line.split(":\t", 1) for line in stack.inside(service, "cat", "/proc/self/status").splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert status["NoNewPrivs"] == "1"
    script = "for folder in $*; do touch $folder/x 2>/dev/null && rm $folder/x && echo $folder; done; true"
    tried = stack.inside(service, "sh", "-c", script, "sh", "/", "/opt/jetserve", "/models", "/var/tmp", *WRITABLE)  # noqa: S108
    assert tried.split() == WRITABLE
    limits = stack.state(service)["HostConfig"]
    assert min(limits["Memory"], limits["PidsLimit"]) > 0
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    assert limits["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    assert "init" in stack.inside(service, "cat", "/proc/1/cmdline")


def test_who_is_reached_from_where(stack: Stack) -> None:
    """Of the host's ports only the gateway's two are taken, on 127.0.0.1; Triton has no way out either."""
    published = json.loads(
        docker("inspect", "--format", "{{json .HostConfig.PortBindings}}", stack.container("gateway"))
    )
    assert {port: {to["HostIp"] for to in places} for port, places in published.items()} == {
        "8080/tcp": {"127.0.0.1"},
        "8081/tcp": {"127.0.0.1"},
    }
    assert not stack.state("triton")["HostConfig"]["PortBindings"]
    [network] = stack.state("triton")["NetworkSettings"]["Networks"]
    assert docker("network", "inspect", "--format", "{{.Internal}}", network).strip() == "true"


@pytest.mark.parametrize("service", SERVICES)
def test_a_crash(service: str, stack: Stack) -> None:
    """A server that is killed comes back by itself, and photos go through shared memory again."""
    restarts = stack.state(service)["RestartCount"]
    stack.crash(service)
    eventually(lambda: stack.state(service)["RestartCount"] > restarts, within_s=BACK_S)
    recovered(stack)


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_container(service: str, stack: Stack) -> None:
    """The same for a container that was killed whole, and is started by hand; a new one in its place does as well."""
    docker("kill", "--signal", "KILL", stack.container(service))
    stack.compose("up", "-d", "--no-recreate", "--wait", service)
    recovered(stack)


def test_a_new_triton(stack: Stack) -> None:
    """A container that replaces another (an upgrade) clears up after it in shared memory, which stays the gateway's."""
    before = set(stack.inside("triton", "ls", SHM).split())
    docker("kill", "--signal", "KILL", stack.container("triton"))
    stack.compose("up", "-d", "--force-recreate", "--no-deps", "--wait", "triton")
    recovered(stack)
    after = set(stack.inside("triton", "ls", SHM).split())
    assert not {name for name in before & after if not name.startswith("jetserve_gateway_")}


def recovered(stack: Stack) -> None:
    eventually(lambda: balloons(stack) == FOUND, within_s=BACK_S)
    eventually(lambda: goes_through_shared_memory(stack), within_s=MAPPED_S)
    assert metrics(stack, "gateway_shared_memory_slots")[""] >= 1


def goes_through_shared_memory(stack: Stack) -> bool:
    """Whether the shipped picture does, now."""
    before = by_shared_memory(stack)
    return balloons(stack) == FOUND and by_shared_memory(stack) == before + 1


def test_an_own_model(stack: Stack) -> None:
    """As the guide says: imported by the builder's container, loaded into the running Triton, there after a restart."""
    stack.shell(block_of_guide("deploy", "clients load mine"))
    eventually(lambda: balloons(stack, "mine") >= FOUND, within_s=BACK_S)
    # Without a threshold of its own the import takes the source's, which lets more through than the shipped one.
    started = stack.state("triton")["State"]["StartedAt"]
    stack.compose("restart", "--timeout", "1", "triton")
    assert stack.state("triton")["State"]["StartedAt"] != started
    eventually(lambda: balloons(stack, "mine") >= FOUND == balloons(stack), within_s=BACK_S)


def test_load(stack: Stack) -> None:
    """Locust in its own container, on the gateway's network: requests, and none that fails."""
    files = ["compose.yaml", "compose.loadtest.yaml"]
    options = ["--host", "http://gateway:8080", "--headless", "--users", "2", "--run-time", "3s", "--only-summary"]
    said = stack.compose("run", "--rm", "--no-deps", "loadtest", *options, files=files)
    total = next(line for line in said.splitlines() if "Aggregated" in line).split()
    assert int(total[1]) > 0
    assert total[2].startswith("0(")


def test_a_record_of_load(stack: Stack, tmp_path: Path) -> None:
    """As the guide says, but shorter: record and page come to the caller's folder, and each answer was counted."""
    block = block_of_guide("deploy", "python -m loadtest").replace("$PWD/loadtest/out", str(tmp_path))
    script = block.replace("--users 8 --seconds 30", "--users 2 --seconds 2 --warm-up 0").replace("mkdir", ": mkdir")
    stack.shell(script)
    assert len(list(tmp_path.glob("*.html"))) == 1
    [written] = tmp_path.glob("*.json")
    assert written.stat().st_uid == os.getuid()
    written_down = record.read(written)
    assert written_down.finished
    [stage] = [stage for stage in written_down.stages if stage.counts]
    assert stage.summary.answered > 0
    assert stage.summary.answered == stage.summary.server_answered
    assert stage.summary.failed == {}


def test_a_start_again(stack: Stack) -> None:
    """`up --wait` of a stack that is up ends well, and imports nothing twice."""
    published = stack.inside("triton", "ls", "/models/balloon")
    stack.up()
    assert stack.inside("triton", "ls", "/models/balloon") == published
    assert balloons(stack) == FOUND
