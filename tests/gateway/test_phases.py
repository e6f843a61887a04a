"""Where a request's time went."""

import statistics
import time
import timeit
from collections.abc import Callable

import httpx
import pytest

from clients.phases import Phases
from gateway.phases import server_timing
from tests.gateway.phases import IN_HEADER, phases_ms
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, samples
from tests.gateway.streams import answer, streaming

PHOTO = encoded(800, 600)


def test_phases_add_up_in_the_order_they_came() -> None:
    """A phase entered twice is counted twice, and the total is the whole."""
    began_s = time.perf_counter()
    phases = Phases()
    time.sleep(0.002)
    phases.mark("decode")
    phases.mark_at("network", phases.marked_s + 0.004)
    phases.mark_at("decode", phases.marked_s + 0.5)
    spent_ms = phases.milliseconds()
    assert list(spent_ms) == ["decode", "network", "total"]
    assert spent_ms["decode"] >= 502
    assert spent_ms["network"] == 4
    assert 2 <= spent_ms["total"] <= (time.perf_counter() - began_s) * 1e3  # what was marked beyond it is not in it


def test_a_phase_that_fails_is_counted() -> None:
    """Time is spent whether or not something came of it."""
    phases = Phases()
    with pytest.raises(KeyError), phases.of("decode"):
        raise KeyError
    assert "decode" in phases.seconds()


def test_skipped_time_is_in_no_phase_and_not_in_the_total() -> None:
    """As when Triton is asked what it took: nobody would wait for that otherwise."""
    began_s = time.perf_counter()
    phases = Phases()
    phases.mark("decode")
    time.sleep(0.02)
    phases.skip()
    phases.mark("respond")
    spent_s, total_s = phases.seconds(), phases.total_s()
    assert list(spent_s) == ["decode", "respond"]
    assert sum(spent_s.values()) <= total_s <= time.perf_counter() - began_s - 0.02
    assert [interval.phase for interval in phases.intervals()] == ["decode", "respond"]


@pytest.mark.parametrize(
    ("queue_s", "compute_s", "divided"),
    [(0.1, 0.2, {"queue": 0.1, "compute": 0.2, "transport": 0.1}), (1, 3, {"queue": 0.1, "compute": 0.3})],
)
def test_a_phase_is_divided_into_no_more_than_it_took(
    queue_s: float, compute_s: float, divided: dict[str, float]
) -> None:
    """The means of many requests may be longer than this one; the last call is meant where there were several."""
    phases = Phases()
    for phase, spent_s in (("transport", 0.3), ("serialise", 0.1), ("transport", 0.4), ("deserialise", 0.1)):
        phases.mark_at(phase, phases.marked_s + spent_s)
    phases.divide("transport", (("queue", queue_s), ("compute", compute_s)))
    assert phases.seconds() == pytest.approx(
        {"transport": 0.3 + divided.pop("transport", 0.0), "serialise": 0.1, "deserialise": 0.1} | divided
    )


def test_a_mark_costs_next_to_nothing() -> None:
    """Each request has a dozen."""
    phases = Phases()
    best_s = min(timeit.repeat(lambda: phases.mark("decode"), number=1000, repeat=5)) / 1000
    assert best_s < 2e-6


def test_server_timing_is_the_header_of_the_specification() -> None:
    """Names and `dur` in milliseconds, as browsers show them."""
    assert server_timing({"decode": 0.00531, "total": 0.045}) == "decode;dur=5.310, total;dur=45.000"


def one(gateway: RunningGateway) -> httpx.Response:
    return gateway.predict("http_colour", PHOTO, x_timings="exact")


def several(gateway: RunningGateway) -> httpx.Response:
    """More than the model takes at once: two calls."""
    files = [("file", (f"{number}.jpg", PHOTO)) for number in range(6)]
    return gateway.http.post("/v1/models/http_colour/predict", files=files, headers={"x-timings": "exact"})


def picture(gateway: RunningGateway) -> httpx.Response:
    return gateway.predict("http_colour", PHOTO, x_timings="exact", accept="image/jpeg")


def averaged(gateway: RunningGateway) -> httpx.Response:
    return gateway.predict("http_colour", PHOTO)


@pytest.mark.triton
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("asked", [one, several, picture, averaged])
def test_the_phases_are_the_whole(served: RunningGateway, asked: Callable[[RunningGateway], httpx.Response]) -> None:
    """Within 3 %, with a real Triton, whatever is asked; and all of them are there."""
    asked(served)
    asked(served)
    shares = []
    for _ in range(9):
        response = asked(served)
        assert response.status_code == 200
        timings_ms = phases_ms(response)
        total_ms = timings_ms.pop("total")
        shares.append(sum(timings_ms.values()) / total_ms)
        if asked is not averaged:
            assert set(IN_HEADER[:-1]) <= set(timings_ms)
    assert statistics.median(shares) == pytest.approx(1, abs=0.03)


@pytest.mark.triton
def test_the_phases_of_a_frame_are_the_whole(served: RunningGateway) -> None:
    """Likewise; a frame's answer tells what came before it was made."""
    shares = []
    with streaming(served.url, "http_colour", "") as stream:
        for _ in range(9):
            stream.send(PHOTO)
            timings_ms = answer(stream)["timings_ms"]
            total_ms = timings_ms.pop("total")
            shares.append(sum(timings_ms.values()) / total_ms)
    assert statistics.median(shares) == pytest.approx(1, abs=0.03)


@pytest.mark.triton
@pytest.mark.usefixtures("patient")
def test_the_histograms_are_the_whole(served: RunningGateway) -> None:
    """The same in `/metrics`, over all requests by whatever way, once they have been answered."""
    for asked in (one, several, picture):
        asked(served)
    with streaming(served.url, "http_colour") as stream:
        stream.send(PHOTO)
        answer(stream)
    found = samples(served)
    counted = {phase: found["gateway_phase_seconds_count", "http_colour", phase] for phase in ("respond", "total")}
    assert counted["respond"] == counted["total"]
    spent_s = {
        phase: value
        for (name, *labels), value in found.items()
        if name == "gateway_phase_seconds_sum"
        for model, phase in [labels]
        if model == "http_colour"
    }
    total_s = spent_s.pop("total")
    assert set(IN_HEADER[:-1]) <= set(spent_s)
    assert sum(spent_s.values()) == pytest.approx(total_s, rel=0.03)
