"""What the asynchronous client does beside what the synchronous one is made to show."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from clients import AsyncGatewayClient, GatewayClient
from clients.io_async import LIMITS
from tests.clients.slow_photo import filled_by_the_loop
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from vision.errors import DeadlineExceeded, UnknownModel

pytestmark = pytest.mark.anyio

RED = encoded(64, 48, (0, 0, 255), ".png")


async def test_every_method_answers_as_the_other_clients(gateway: RunningGateway) -> None:
    """One is made from the other; this is that it runs."""
    with GatewayClient(gateway.url) as other:
        expected = other.predict(RED, "spot"), other.models(), other.model("spot"), other.annotated(RED, "spot")
    async with AsyncGatewayClient(gateway.url) as client:
        result = await client.predict(RED, "spot")
        assert (await client.models(), await client.model("spot")) == expected[1:3]
        assert await client.annotated(RED, "spot") == expected[3]
        assert await client.ready()
        await client.require_ready()
        with pytest.raises(UnknownModel):
            await client.predict(RED, "none")
    assert result.detections == expected[0].detections


async def test_reading_a_photo_leaves_the_loop_free(gateway: RunningGateway, tmp_path: Path) -> None:
    """Files are read, and pixels encoded, in a thread."""
    async with AsyncGatewayClient(gateway.url) as client:
        async with filled_by_the_loop(tmp_path / "photo", RED):
            predicting = asyncio.create_task(client.predict(tmp_path / "photo", "colour"))
        assert (await predicting).name == "photo"


async def test_reading_a_photo_is_part_of_the_time_allowed(gateway: RunningGateway, tmp_path: Path) -> None:
    """The deadline begins with the call, not with the request."""
    slow = tmp_path / "slow"
    os.mkfifo(slow)  # who opens it waits for what is written

    def write() -> None:
        with slow.open("wb") as pipe:  # which waits for who reads
            time.sleep(0.5)
            pipe.write(RED)

    async with AsyncGatewayClient(gateway.url, timeout_s=0.3) as client:
        for asked in (client.predict, client.annotated):
            writing = threading.Thread(target=write)
            writing.start()
            with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
                await asked(slow, "colour")
            writing.join()


async def test_connections_are_as_many_as_requests_and_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number: nobody waits for another's connection, or pays for a new one."""
    monkeypatch.setattr(LIMITS, "keepalive_expiry", 60.0)  # they are kept for five seconds, which a machine may take
    callers = connections = here = 0
    everybody = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, here
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                here += 1
                if here == callers:
                    everybody.set()
                await everybody.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + b'{"models":[]}')
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncGatewayClient(f"http://127.0.0.1:{port}", timeout_s=60, retries=0) as client:
            for callers in (102, 40):
                here = 0
                everybody.clear()
                await asyncio.gather(*(client.models() for _ in range(callers)))
    assert connections == 102


async def test_who_is_cancelled_leaves_the_gateway(gateway: RunningGateway, fake: FakeTriton) -> None:
    """And the client can be used on."""
    async with AsyncGatewayClient(gateway.url) as client:
        fake.hangs = True
        try:
            predicting = asyncio.create_task(client.predict(RED, "colour"))
            await asyncio.to_thread(eventually, lambda: fake.running == 1, within_s=5)
            predicting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await predicting
            await asyncio.to_thread(
                eventually, lambda: 'outcome="caller_gone"' in gateway.http.get("/metrics").text, within_s=10
            )
        finally:
            fake.hangs = False
        assert (await client.predict(RED, "colour")).classes
    eventually(lambda: fake.running == 0, within_s=10)


SCRIPT = """
import logging, sys, threading
logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a callback took long is the machine's doing
from clients import DirectClient, GatewayClient
for client in (GatewayClient(sys.argv[1]), DirectClient(sys.argv[2])):
    with client:
        client.predict(sys.argv[3], "colour")
    GatewayClient(sys.argv[1]).close()
print([thread.name for thread in threading.enumerate() if thread.name in ("jetserve-client", "jetserve-direct")])
"""


def test_what_is_closed_leaves_nothing_open(gateway: RunningGateway, fake: FakeTriton, tmp_path: Path) -> None:
    """No socket, no event loop, no thread with one: Python, told to watch for them, has nothing to say."""
    photo = tmp_path / "red.png"
    photo.write_bytes(RED)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT, gateway.url, fake.address, str(photo)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == "[]"


def test_a_client_that_nobody_closes_does_not_hold_the_program(gateway: RunningGateway) -> None:
    """It ends with the script that forgot it."""
    code = f"from clients import GatewayClient; print(GatewayClient({gateway.url!r}).ready())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert (ended.returncode, ended.stdout.strip()) == (0, "True")


FORKING = """
import os, sys
from clients import GatewayClient
with GatewayClient(sys.argv[1]) as client:
    client.models()
    if os.fork() == 0:
        try:
            client.models()
        except RuntimeError as exc:
            print(exc, flush=True)
    else:
        os.wait()
        print(len(client.models()))
"""


def test_after_a_fork_it_says_so(gateway: RunningGateway) -> None:
    """There is no thread in the child that would answer: it must not wait for one; the parent goes on."""
    command = [sys.executable, "-c", FORKING, gateway.url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "this client was used before the process was forked: make another in each process",
        "2",
    ]
