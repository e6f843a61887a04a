"""The server whose service times are known, and the truth that is told of it."""

import asyncio
import time

import httpx
import numpy as np
import pytest

from clients.results import ModelDetail, Models, Prediction
from tests.loadtest.knowing import KnownServer, known_server
from tests.loadtest.known_truth import (
    Queue,
    Service,
    Stall,
    Times,
    evenly,
    percentiles_ms,
    poisson,
    single_sojourns_s,
    sojourns_s,
    unlimited_percentile_ms,
)

SERVICES = [Service("deterministic", 0.010), Service("exponential", 0.010), Service("lognormal", 0.020, 0.5)]


@pytest.mark.parametrize("stall", [Stall(), Stall(3.0, 2.0)], ids=["steady", "stalling"])
@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.kind)
def test_the_recursion_and_the_formula_agree_on_infinitely_many_servers(service: Service, stall: Stall) -> None:
    """Percentiles that were drawn are those by formula, through a stall, too."""
    arrivals = poisson(1000, 30_000, 7)
    drawn = percentiles_ms(sojourns_s(Queue(service, None, stall), arrivals), (50, 90, 99))
    for percent, value_ms in drawn.items():
        assert value_ms == pytest.approx(unlimited_percentile_ms(service, stall, arrivals, percent), rel=0.03)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_one_server_queues_as_pollaczek_and_khinchine_say(share: float) -> None:
    """Mean waits are those of M/D/1 and M/M/1, and M/M/1's sojourns are exponential: p99 is ln 100 times the mean."""
    mean_s = 0.010
    arrivals = poisson(share / mean_s, 200_000, 3)
    fixed = sojourns_s(Queue(Service("deterministic", mean_s), 1), arrivals)
    free = sojourns_s(Queue(Service("exponential", mean_s), 1), arrivals)
    assert fixed == pytest.approx(single_sojourns_s(mean_s, arrivals))
    assert fixed.mean() - mean_s == pytest.approx(share * mean_s / (2 * (1 - share)), rel=0.04)
    assert free.mean() == pytest.approx(mean_s / (1 - share), rel=0.04)
    assert np.percentile(free, 99) == pytest.approx(np.log(100) * mean_s / (1 - share), rel=0.06)


def test_many_servers_without_a_wait_are_infinitely_many() -> None:
    """A queue that never waits and a server that has none give the same, request by request."""
    arrivals, service = poisson(100, 5000, 1), Service("lognormal", 0.02, 0.5)
    one, other = (sojourns_s(Queue(service, workers, Stall(10, 2)), arrivals) for workers in (10_000, None))
    assert one == pytest.approx(other)


def test_after_a_stall_a_queue_works_off_what_came_in_it() -> None:
    """2 s at 50/s wait for one server of 10 ms: the first 2 s, and each next one 10 ms less, to none after 4 s."""
    arrivals = evenly(50, 10)
    sojourns = sojourns_s(Queue(Service("deterministic", 0.010), 1, Stall(2.0, 2.0)), arrivals)
    assert sojourns[:100] == pytest.approx(0.010)
    expected = np.maximum(2.0 + 0.010 * (np.arange(400) + 1) - 0.020 * np.arange(400), 0.010)
    assert sojourns[100:] == pytest.approx(expected)


async def _asked(server: KnownServer, arrivals_s: Times) -> tuple[Times, list[int]]:
    """When each was asked (`time.monotonic`), and the statuses."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        began = time.monotonic()

        async def one(arrival_s: float) -> tuple[float, int]:
            await asyncio.sleep(began + arrival_s - time.monotonic())
            asked_s = time.monotonic()
            return asked_s, (await http.post("/v1/models/known/predict", content=b"photo")).status_code

        answers = await asyncio.gather(*(one(arrival) for arrival in arrivals_s.tolist()))
    return np.array([asked for asked, _ in answers]), [status for _, status in answers]


@pytest.mark.anyio
@pytest.mark.parametrize("options", ["--workers 1 --stall 0.5:0.4", "--workers infinite --service lognormal:0.02,0.5"])
async def test_the_server_keeps_to_the_truth(options: str) -> None:
    """What it logs is what the recursion makes of the arrivals it logged, and answers are on time to half a ms."""
    with known_server(*options.split()) as server:
        await _asked(server, evenly(60, 1.5))
        log = server.log()
        assert len(log["arrived_s"]) == 90
        stall = Stall(log["arrived_s"][0] + 0.5, 0.4) if "stall" in options else Stall()
        infinite = "infinite" in options
        service = Service("lognormal", 0.02, 0.5) if infinite else Service("deterministic", 0.010)
        truth = sojourns_s(Queue(service, None if infinite else 1, stall), log["arrived_s"])
        assert log["due_s"] - log["arrived_s"] == pytest.approx(truth, abs=1e-6)
        late = log["ended_s"] - log["due_s"]
        assert late.min() >= 0
        assert np.quantile(late, 0.05) < 0.0005, late  # others wait for whoever else has the processors


@pytest.mark.anyio
async def test_it_fails_as_often_as_it_is_told() -> None:
    """A share of requests is answered 502 and counted as such, and the log begins anew when it is told to."""
    with known_server("--fail", "0.3", "--service", "deterministic:0.001", "--workers", "infinite") as server:
        _, statuses = await _asked(server, evenly(200, 1))
        assert {200, 502} == set(statuses)
        assert statuses.count(502) == server.log()["failed"].sum() == pytest.approx(60, abs=25)
        metrics = server.metrics()
        assert f'outcome="ok",transport="http"}} {statuses.count(200)}.0' in metrics
        server.forget()
        assert len(server.log()["failed"]) == 0


def test_it_speaks_as_the_gateway_does() -> None:
    """Answers are what the clients' own types read, with a Server-Timing of the phases."""
    with known_server("--workers", "1") as server, httpx.Client(base_url=server.url) as http:
        assert http.get("/health/ready").status_code == 200
        assert [model.name for model in Models.model_validate_json(http.get("/v1/models").content).models] == ["known"]
        detail = ModelDetail.model_validate_json(http.get("/v1/models/balloon").content)
        assert detail.name == "balloon"
        assert detail.contract is not None
        answer = http.post("/v1/models/balloon/predict", content=b"photo", headers={"content-type": "image/jpeg"})
        assert Prediction.model_validate_json(answer.content).timings_ms["total"] == pytest.approx(10, abs=0.01)
        assert "compute;dur=10.000" in answer.headers["server-timing"]
        assert http.get("/nowhere").status_code == 404
