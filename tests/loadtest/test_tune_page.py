"""What a search says, on a terminal and as a page."""

import re

import numpy as np

from loadtest.slo import Slo
from loadtest.tune.candidate import Candidate
from loadtest.tune.frontier import drawn, points_of
from loadtest.tune.page import html_of
from loadtest.tune.score import Objective, Pair
from loadtest.tune.search import Found
from loadtest.tune.verdict import outcome_of
from tests.loadtest.simulated_serving import BEST, CURRENT, stage
from vision.serving import ServingSettings

OBJECTIVE = Objective(Slo.parse("p99<200ms"), "rate")
SLOW = Candidate(serving=ServingSettings(instances=1, threads=1))
CALM = Candidate(serving=ServingSettings(instances=1, threads=2))


def found(joules: float | None = None) -> Found:
    """Of four: the best, one that is slower and calmer, the current one, and one that all others beat."""
    random = np.random.default_rng(0)
    rates = {CURRENT: (100.0, 0.2), BEST: (150.0, 0.2), SLOW: (50.0, 0.4), CALM: (140.0, 0.01)}
    turns = {
        who: [stage(rate * (1 + 0.01 * turn), random, spread) for turn in range(6)]
        for who, (rate, spread) in rates.items()
    }
    if joules is not None:
        turns = {
            who: [
                each.model_copy(update={"summary": each.summary.model_copy(update={"joules": joules})}) for each in of
            ]
            for who, of in turns.items()
        }
    return Found(CURRENT, BEST, list(map(Pair, turns[BEST], turns[CURRENT])), turns)


def test_the_frontier_is_what_nothing_beats_in_all() -> None:
    """The quickest and the calmest; not who is slower and less calm than another."""
    points = points_of(found().turns, {BEST: True})
    assert {point.candidate for point in points if point.is_best} == {BEST, CALM}
    assert [point.candidate for point in points] == [SLOW, CURRENT, CALM, BEST]


def test_a_terminal_shows_who_is_where() -> None:
    """The winner furthest right, what is served now, and the limits of both axes."""
    points = points_of(found().turns, {})
    lines = drawn(points, CURRENT, BEST)
    [at] = [line.index("*") for line in lines[:-1] if "*" in line]
    assert at > max(line.index("o") for line in lines[:14] if "o" in line)
    assert all(len(line) < 80 for line in lines)
    assert drawn([], CURRENT, None) == []


def test_a_page_needs_no_network_and_says_what_to_run() -> None:
    """One file with the verdict, its interval, every candidate and a plot; a second plot where power was measured."""
    for joules, plots in ((None, 1), (30.0, 2)):
        search = found(joules)
        outcome = outcome_of(search, OBJECTIVE)
        points = points_of(search.turns, {BEST: True})
        page = html_of("balloon", search, outcome, points, ["python -m clients load <&>"], {"seed": 1})
        assert outcome.winner == BEST
        assert "Better than what is served now: rate +" in page
        assert page.count('role="img"') == plots
        assert "load &lt;&amp;&gt;" in page
        assert all(str(candidate) in page for candidate in search.turns)
        assert not re.search(r"(src|href)=\"(?!data:)", page)
        assert "<script" not in page
        assert ("images per joule +" in page) == (joules is not None)


def test_more_images_per_joule_may_be_what_is_preferred() -> None:
    """Then who answers more for the same power wins by that figure."""
    outcome = outcome_of(found(30.0), Objective(Slo.parse("p99<200ms"), "images per joule"))
    assert outcome.winner == BEST
    assert "images per joule +" in outcome.why
