"""Better, worse, or not told apart: on simulated runs whose noise is known."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from loadtest.comparison import Comparison, Verdict, comparison_of
from loadtest.record import Record
from tests.loadtest.simulated import latencies_of, quick_stage, record_of, stage_of

SECONDS = 16
RATE = 40
RUNS = 6
"""As docs/14-reports.md advises."""
BETWEEN = 0.03
"""Standard deviation between runs of one build: a tenth of their median would be three of them."""
DRIFT = 0.3


def simulated(
    rng: np.random.Generator, slower: float, runs: int = RUNS, between: float = BETWEEN, wander: float = 0.03
) -> list[Record]:
    """Runs whose seconds remember, and that differ from run to run."""
    levels = (0.02 * slower * np.exp(rng.normal(0, between, runs))).tolist()
    return [record_of([quick_stage(rng, SECONDS, RATE, median_s=s, memory=0.6, wander=wander)]) for s in levels]


def verdicts(slower: float, pairs: int, **more: float) -> Counter[Verdict]:
    found = Counter[Verdict]()
    for seed in range(pairs):
        rng = np.random.default_rng((seed, round(slower * 100)))
        a, b = simulated(rng, 1.0, **more), simulated(rng, slower, **more)  # type: ignore[arg-type]  # runs is whole
        found[comparison_of(a, b).verdict] += 1
    return found


def test_the_same_build_is_not_told_apart() -> None:
    """Of 40 pairs of six runs each, that differ from run to run by 3 %, at most 5 % are told apart in anything."""
    assert verdicts(1.0, 40)[Verdict.ALIKE] >= 38


def test_a_tenth_slower_is_found() -> None:
    """In at least 9 of 10, and never called better."""
    found = verdicts(1.1, 40)
    assert found[Verdict.WORSE] >= 36
    assert found[Verdict.BETTER] == 0


def test_a_tenth_faster_is_found() -> None:
    """The other way round."""
    assert verdicts(1 / 1.1, 10)[Verdict.BETTER] >= 8


@pytest.mark.parametrize("between", [0.01, 0.06])
def test_single_runs_are_not_told_apart_by_what_runs_differ(between: float) -> None:
    """With one run of each, nobody knows how much runs differ: what is usual is taken; 60 pairs pass at twice it."""
    assert verdicts(1.0, 60, runs=1, between=between)[Verdict.ALIKE] >= 57


def test_single_runs_tell_what_is_plain() -> None:
    """Twice as slow."""
    assert verdicts(2.0, 20, runs=1)[Verdict.WORSE] == 20


def timed(records: list[Record], offset: int) -> list[Record]:
    """Every other minute, from `offset`."""
    began = datetime(2026, 11, 21, 12, tzinfo=UTC)
    return [
        record.model_copy(update={"began": (began + timedelta(minutes=2 * number + offset)).isoformat()})
        for number, record in enumerate(records)
    ]


def test_runs_that_took_turns_are_compared_with_their_neighbours() -> None:
    """A machine that grows slower by a third over the test hides nothing then; in two blocks it would."""
    rng = np.random.default_rng(2)
    drift = np.exp(np.linspace(0, DRIFT, RUNS))
    sides = [
        [
            record_of([quick_stage(rng, SECONDS, RATE, median_s=0.02 * slower * level, memory=0.6)])
            for level in drift * np.exp(rng.normal(0, 0.01, RUNS))
        ]
        for slower in (1.0, 1.1)
    ]
    a, b = timed(sides[0], 0), timed(sides[1], 1)
    turns, blocks = comparison_of(a, list(reversed(b))), comparison_of(sides[0], sides[1])
    assert (turns.paired, blocks.paired) == (True, False)
    assert (turns.verdict, blocks.verdict) == (Verdict.WORSE, Verdict.ALIKE)


def rows(found: Comparison) -> dict[str, Verdict]:
    return {row.name: row.verdict for row in found.rows}


def full(seed: int, **changes: object) -> Record:
    """With real samples, models and energy."""
    rng = np.random.default_rng(seed)
    return record_of([stage_of(latencies_of(rng, 20, 50), joules=400.0, **changes)])  # type: ignore[arg-type]


def test_every_quantity_is_judged_by_itself() -> None:
    """Twice the energy, 5 % failures, and a phase that takes twice as long: only they are worse."""
    phases = {"decode": 2.0, "preprocess": 1.5}
    a = [full(seed, phases_ms=phases) for seed in range(5)]
    b = [full(seed + 9, phases_ms=phases | {"decode": 4.0}, failed=3) for seed in range(5)]
    b = [
        record.model_copy(
            update={
                "stages": [
                    stage.model_copy(update={"summary": stage.summary.model_copy(update={"joules": 800.0})})
                    for stage in record.stages
                ]
            }
        )
        for record in b
    ]
    found = comparison_of(a, b)
    assert rows(found) == {
        "rate": Verdict.ALIKE,
        "p50": Verdict.ALIKE,
        "p90": Verdict.ALIKE,
        "p99": Verdict.ALIKE,
        "errors": Verdict.WORSE,
        "images per joule": Verdict.WORSE,
        "balloon: decode": Verdict.WORSE,
        "balloon: preprocess": Verdict.ALIKE,
        "balloon: Triton's queue": Verdict.ALIKE,
        "balloon: Triton's compute": Verdict.ALIKE,
    }
    [errors] = [row for row in found.rows if row.name == "errors"]
    assert [errors.a, errors.b, errors.ratio] == pytest.approx([0, 3 / 53, 3 / 53])
    assert found.verdict is Verdict.WORSE


def test_stages_that_only_one_side_has_are_left_out() -> None:
    """As where one of them was ended early, and `--anyway` was said."""
    short, long = full(0), full(1)
    other = long.stages[0].model_copy(update={"name": "more"})
    found = comparison_of([long.model_copy(update={"stages": [*long.stages, other]})], [short])
    assert {row.stage for row in found.rows} == {"steady"}
    assert comparison_of([short.model_copy(update={"stages": []})], [short]).rows == ()


def test_phases_explain_and_do_not_decide() -> None:
    """A phase alone that is slower makes no build worse: nobody waits for a phase."""
    a, b = ([full(seed + side, phases_ms={"decode": 2.0 + side}) for seed in range(6)] for side in (0, 10))
    found = comparison_of(a, b)
    assert rows(found)["balloon: decode"] is Verdict.WORSE
    assert found.verdict is Verdict.ALIKE


def test_what_is_too_little_to_act_on_is_not_told_apart() -> None:
    """2 % is seen by forty runs without noise, and is below the 3 % that anybody should act on."""
    rng = np.random.default_rng(0)
    a, b = (simulated(rng, slower, runs=40, between=0.001, wander=0.001) for slower in (1.0, 1.02))
    [row] = [row for row in comparison_of(a, b).rows if row.name == "p50"]
    assert row.low > 1
    assert row.verdict is Verdict.ALIKE


def test_the_interval_is_around_the_truth() -> None:
    """And it says how many runs would tell 5 %: more, the more the runs differ."""
    needed = []
    for between in (0.01, 0.08):
        found = comparison_of(*(simulated(np.random.default_rng(seed), 1.0, between=between) for seed in (0, 1)))
        [row] = [row for row in found.rows if row.name == "p50"]
        assert row.low < 1 < row.high
        assert row.a == pytest.approx(0.02, rel=0.1)
        assert row.runs_for_5_percent is None or row.runs_for_5_percent > 1
        needed.append(row.runs_for_5_percent or 101)
    assert needed[0] < needed[1]
