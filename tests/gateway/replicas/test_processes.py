"""What several processes of a gateway say of several Tritons."""

import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.gateway.replicas.fakes import PHOTO, Frozen, kill, metric
from tests.gateway.serving import answers, eventually, process


def test_workers_sum_up(a: Frozen, b: Frozen) -> None:
    """Counters and what is in flight are sums over all workers; a replica is up where it is for each of them."""
    with process(triton=f"{a.address},{b.address}", workers=2, refresh_s=0.1) as (started, url), ExitStack() as stack:
        eventually(lambda: answers(url), within_s=90)
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=20)) for _ in range(4)]
        eventually(lambda: metric(url, "gateway_workers") == 2, within_s=90)
        for _ in range(5):
            for client in clients:
                headers = {"content-type": "image/jpeg"}
                assert client.post("/v1/models/colour/predict", content=PHOTO, headers=headers).status_code == 200
        assert metric(url, "gateway_replica_requests_total") == len(a.received) + len(b.received) == 20
        assert abs(len(a.received) - len(b.received)) <= 2  # each worker has turns of its own
        for fake in (a, b):
            assert metric(url, f'gateway_replica_up{{replica="{fake.address}"}}') == 1
        kill(a)
        eventually(lambda: metric(url, f'gateway_replica_up{{replica="{a.address}"}}') == 0, within_s=20)
        # Each worker writes it down once a second, maybe in the middle of a request.
        eventually(lambda: metric(url, "gateway_replica_in_flight") == 0, within_s=10)
        started.terminate()
        started.communicate(timeout=20)


def test_series_of_several_processes_go_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Files keep them; they are not shown: addresses that a DNS makes up are no series for ever."""
    code = """
import sys
from gateway.exposition import Exposition, count_as
from gateway.replica_metrics import ReplicaMetrics
from types import SimpleNamespace as Replica
count_as(0)
there = [Replica(address="a:1", is_up=True, requests=1), Replica(address="b:1", is_up=True, requests=2)]
exposition = Exposition()
metrics = ReplicaMetrics(exposition)
metrics.watch(lambda: there)
for each in there:
    metrics.answered(each.address, "ok")
both = exposition.text().decode()
del there[0]
metrics.forget("a:1")
one = exposition.text().decode()
sys.exit(not (both.count('"a:1"') == both.count('"b:1"') == one.count('"b:1"') == 3 and '"a:1"' not in one))
"""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
