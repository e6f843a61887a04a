"""The search for the highest rate that holds an objective, over servers whose knee is known."""

from itertools import count

import numpy as np
import pytest

from loadtest.capacity import Judged, Search, decided, told
from tests.loadtest.known_truth import evenly, poisson, single_sojourns_s

SLO_S = 0.050


def p99_s(arrivals: str, rate_per_s: float, seconds: float, seed: int) -> tuple[float, float]:
    """Of one server of 10 ms, and the share of what was due that was answered in the time of the run."""
    times = (
        evenly(rate_per_s, seconds) if arrivals == "evenly" else poisson(rate_per_s, int(rate_per_s * seconds), seed)
    )
    sojourns = single_sojourns_s(0.010, times)
    return float(np.percentile(sojourns, 99)), float(np.mean(times + sojourns <= seconds))


def true_knee(arrivals: str) -> float:
    """The highest rate whose p99 is below the objective, to 0.5 %, from runs of 1,000 s."""
    rates = np.arange(50, 102, 0.5)
    held = [rate for rate in rates if p99_s(arrivals, float(rate), 1000, 1)[0] < SLO_S]
    return float(max(held))


@pytest.mark.parametrize("hiccups", [0.0, 0.1])
@pytest.mark.parametrize("arrivals", ["evenly", "poisson"])
def test_it_finds_the_knee_of_a_queue_within_a_tenth(arrivals: str, hiccups: float) -> None:
    """From looks of 20 s at one server of 10 ms, some of which hit a pause that has nothing to do with the rate."""
    knee = true_knee(arrivals)
    found = []
    for seed in range(20):
        seeds, luck = count(1000 * seed), np.random.default_rng(seed)

        def look(rate: float) -> tuple[float, float]:
            p99, answered = p99_s(arrivals, rate, 20, next(seeds))  # noqa: B023 - called before the next turn
            return (p99 + (luck.random() < hiccups) * 0.3, answered)  # noqa: B023

        def judge(looked: tuple[float, float]) -> Judged:
            p99, answered = looked
            return Judged(p99 < SLO_S, p99 < SLO_S * 0.8 or answered < 0.8)

        result = Search(look, judge, start_per_s=7).run()
        assert result.rate_per_s is not None
        assert result.above_per_s is not None
        assert result.above_per_s / result.rate_per_s <= 1.0501
        found.append(result.rate_per_s / knee)
    assert np.median(found) == pytest.approx(1, abs=0.05)
    assert sum(abs(each - 1) <= 0.10 for each in found) >= 18, found


def looked_at(
    knee: float, start_per_s: float = 10, most_per_s: float = 1e5, least_per_s: float = 0.1
) -> tuple[list[float], Search[float]]:
    """A search without noise, and the rates that it looks at."""
    looks: list[float] = []

    def measure(rate: float) -> float:
        looks.append(rate)
        return rate

    return looks, Search(measure, lambda rate: Judged(rate <= knee, clear=True), start_per_s, most_per_s, least_per_s)


def test_a_clear_search_is_short() -> None:
    """Without noise every rate is looked at once, and the answer twice."""
    looks, search = looked_at(437)
    found = search.run()
    assert found.rate_per_s is not None
    assert 437 / 1.05 <= found.rate_per_s <= 437
    assert len(looks) == len(set(looks)) + 1 <= 13


def test_it_starts_too_high_and_comes_down() -> None:
    """A first rate that does not hold is halved until one does."""
    looks, search = looked_at(3.0)
    found = search.run()
    assert looks[:3] == [10, 5, 2.5]
    assert found.rate_per_s == pytest.approx(3.0, rel=0.05)


def test_a_server_that_never_holds_is_said_to() -> None:
    """Below the least rate nothing is tried, and no rate comes back."""
    _, search = looked_at(0.0, least_per_s=1)
    found = search.run()
    assert found.rate_per_s is None
    assert told(found) == "none: the objective does not hold at even 1.25 requests/s"


def test_the_most_there_may_be_is_not_exceeded() -> None:
    """A server that holds everything is asked up to the limit and no further."""
    looks, search = looked_at(1e9, most_per_s=100)
    found = search.run()
    assert max(looks) == 100
    assert (found.rate_per_s, found.above_per_s) == (100, None)
    assert told(found).startswith("at least 100 ")


def test_where_the_generator_ends_the_server_is_not_blamed() -> None:
    """Rates that were not sent bound the search, and the answer is at least, and says why."""
    found = Search(lambda rate: rate, lambda rate: Judged(rate <= 300, rate <= 300, rate > 300), start_per_s=10).run()
    assert found.limited
    assert found.rate_per_s == pytest.approx(300, rel=0.05)
    assert "the generator could not send" in told(found)


def test_a_rate_that_held_by_luck_is_not_the_answer() -> None:
    """The answer has to hold in more than one look: a lucky one is taken back, and the search goes on below it."""
    looks: list[float] = []

    def measure(rate: float) -> bool:
        looks.append(rate)
        lucky = rate > 80 and looks.count(rate) == 1 and rate < 100
        return rate <= 80 or lucky

    found = Search(measure, lambda held: Judged(held, clear=held), start_per_s=10).run()
    assert found.rate_per_s is not None
    assert 80 / 1.05 <= found.rate_per_s <= 80


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ("H", "held"),
        ("h", None),
        ("b", None),
        ("B", "broken"),
        ("bb", "broken"),
        ("hh", "held"),
        ("hb", None),
        ("hbb", "broken"),
        ("bhh", "held"),
        ("bH", None),
        ("L", None),
        ("LL", "limited"),
        ("Lhh", "held"),
        ("LBb", "broken"),
    ],
)
def test_two_looks_of_three_decide(looks: str, verdict: str | None) -> None:
    """A clear one that holds, or a server far behind, is enough; else two that agree. Capitals are clear."""
    assert decided([Judged(look in "hH", look in "HB", look == "L") for look in looks]) == verdict
