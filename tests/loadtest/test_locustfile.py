"""The locustfile as Locust itself runs it, against a gateway and Tritons."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import RunningGateway, running_fake, running_gateway, samples
from tests.local_triton import ROOT
from tests.tiny_models import spot_contract

TINY = spot_contract()
ALL = re.compile(r"Aggregated +(\d+) +(\d+)\(")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeTriton]:
    with running_fake({"tiny": FakeModel(TINY)}) as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(fake: FakeTriton) -> Iterator[RunningGateway]:
    with running_gateway(fake.address) as gateway:
        yield gateway


def locust(*arguments: str) -> tuple[int, int, str]:
    """How many requests, how many of them failed, and all that it said."""
    given = ["--headless", "--only-summary", "--images", "made:64x48+48x64x2", "--timeout", "10", *arguments]
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", *given]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    told = done.stdout + done.stderr
    found = ALL.search(told)
    return (int(found[1]), int(found[2]), told) if found else (0, 0, told)


def answered(gateway: RunningGateway, transport: str) -> float:
    return samples(gateway).get(("gateway_requests_total", "tiny", "ok", transport), 0.0)


def test_the_line_of_the_docs_has_no_failures_and_the_servers_counts(gateway: RunningGateway) -> None:
    """Eight users, of the models that are ready, as none is named."""
    before = answered(gateway, "http")
    requests, failed, told = locust("--host", gateway.url, "-u", "8", "-r", "8", "-t", "2s")
    assert requests > 8, told
    assert failed == 0, told
    assert answered(gateway, "http") - before == requests


def test_grpc_counts_what_the_gateway_counts_over_processes(gateway: RunningGateway) -> None:
    """The rate is divided among them, and each sends its share: 30 due in 3 s, one like the other."""
    before = answered(gateway, "grpc")
    where = "--transport", "grpc", "--host", gateway.grpc
    requests, failed, told = locust(*where, "--model", "tiny:2", "--stages", "10/s:3s", "--processes", "2")
    assert (requests, failed) == (30, 0), told
    assert answered(gateway, "grpc") - before == 30


def test_triton_is_asked_with_pixels_that_are_ready(fake: FakeTriton) -> None:
    """As the contract says, and nothing of the gateway's is between."""
    before = len(fake.received)
    requests, failed, told = locust("--transport", "triton", "--host", fake.address, "--stages", "7/s:3s")
    assert (requests, failed) == (21, 0), told
    batches = [received.batch for received in fake.received[before:]]
    assert len(batches) == 21
    assert {batch.shape for batch in batches} == {(1, *TINY.input.shape)}


def test_nobody_to_ask_is_said_in_one_line() -> None:
    """Rather than counted as so many failures."""
    _, _, told = locust("--host", "http://127.0.0.1:9", "-u", "1", "-t", "1s")
    assert "loadtest: nobody answers at http://127.0.0.1:9" in told
    assert "Traceback" not in told


def test_whatever_ends_the_preparation_is_said() -> None:
    """Rather than users that wait for ever: here headers that nobody has written."""
    _, _, told = locust("--host", "http://127.0.0.1:9", "-u", "1", "-t", "1s", "--headers-from", "0")
    assert "loadtest: JSONDecodeError: " in told
    assert "Traceback" not in told


def test_options_are_read_before_anything_begins() -> None:
    """Stages and weights that are none end it."""
    _, _, told = locust("--host", "http://127.0.0.1:9", "--stages", "8")
    assert "expected stages as 8:30s" in told
