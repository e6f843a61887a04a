"""How often `python -m loadtest compare` tells the same build apart, and whether it finds one that is a tenth slower.

    python -m benchmarks.load_compare --folder FOLDER --blocks 3     # again and again: each block is three short runs
    python -m benchmarks.load_compare --folder FOLDER --out FILE     # what comes of them

A block is a run of each of three gateways, in turns: two that are the same, and one whose `Predictor.predict` holds up
the event loop for a tenth of the time that it took. One user asks. All stand before a fake Triton that takes
10 ms. Compared are all blocks in turns, the runs of the two that are the same dealt to two sides at random, and every
single pair of neighbours.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from gateway.predictor import Prediction, Predictor
from loadtest.comparison import LATENCIES, comparison_of
from loadtest.plan import plan_from_values
from loadtest.record import Record, read
from loadtest.run import run
from loadtest.statistics import Percentile, Quantity, Rate, Sample, value_of
from tests.fake_triton import FakeModel
from tests.gateway.serving import no_settings, running_fake, running_gateway
from tests.tiny_models import colour_contract

SIDES = ("a", "same", "slower")
SLOWER = 0.1
"""Of the time that `predict` took, which is most of what the caller waits."""
DELAY_S = 0.010
SECONDS = 10
RUNS = 6
"""Of each side."""
TRIES = 10
NEAR = timedelta(seconds=60)
"""Runs of one block began within it."""

Pair = tuple[Record, Record]
"""Of A, and of another side."""


class SlowPredictor(Predictor):
    """Slower: it holds up the event loop, though not the interpreter, which the fake Triton needs, too."""

    async def predict(self, *arguments: Any, **options: Any) -> Prediction:
        began_s = time.perf_counter()
        found = await super().predict(*arguments, **options)
        time.sleep(SLOWER * (time.perf_counter() - began_s))  # noqa: ASYNC251 - on purpose
        return found


@contextmanager
def gateways() -> Iterator[dict[str, str]]:
    """URLs by side."""
    with ExitStack() as stack:
        stack.enter_context(no_settings())
        fake = stack.enter_context(running_fake({"colour": FakeModel(colour_contract())}))
        fake.delay_s = DELAY_S
        running = {side: stack.enter_context(running_gateway(fake.address)) for side in SIDES}
        running["slower"].service.predictor.__class__ = SlowPredictor
        yield {side: gateway.url for side, gateway in running.items()}


def measure(folder: Path, blocks: int) -> None:
    """So many blocks more; the order within one changes, so that nobody is always first."""
    with gateways() as urls:
        for number in range(blocks):
            for side in np.roll(SIDES, number).tolist():
                plan = {
                    "name": side,
                    "host": urls[side],
                    "models": {"colour": 1},
                    "images": "made:640x480x4",
                    "stages": [{"users": 1, "seconds": SECONDS}],
                    "warm_up": {"at_least_s": 1, "at_most_s": 4},
                }
                done = run(plan_from_values(plan), folder / side)
                print(side, done.invalid, done.counted()[0].summary.latency_ms if done.counted() else None)


def pairs_of(folder: Path, other: str) -> list[Pair]:
    """Each valid run of a side with the run of A that began nearest to it, in order of time."""
    a, b = (
        [found for path in (folder / side).glob("*.json") if (found := read(path)).is_valid] for side in ("a", other)
    )
    pairs = []
    for run_b in sorted(b, key=lambda each: each.began):
        run_a = min(a, key=lambda each: abs(_began(each) - _began(run_b)))
        if abs(_began(run_a) - _began(run_b)) < NEAR:
            a.remove(run_a)
            pairs.append((run_a, run_b))
    return pairs


def tried(drawn: list[list[Pair]]) -> dict[str, Any]:
    """Verdicts of comparisons, each of some pairs."""
    found = [comparison_of([a for a, _ in some], [b for _, b in some]) for some in drawn]
    p50 = [next(row for row in one.rows if row.name == "p50") for one in found]
    return {
        "runs_of_each": len(drawn[0]),
        "verdicts": dict(Counter(one.verdict.value for one in found)),
        "p50_ratio": {"least": min(row.ratio for row in p50), "most": max(row.ratio for row in p50)},
        "p50_half_width": statistics.median((row.high - row.low) / 2 for row in p50),
    }


def noise(runs: list[Record]) -> dict[str, float]:
    """Standard deviation between the runs of one build, of logarithms."""
    samples = [Sample.of(each.counted()[0].windows) for each in runs]
    quantities: dict[str, Quantity] = {
        "rate": Rate(),
        **{name: Percentile(quantity.percent) for name, (_, quantity) in LATENCIES.items()},
    }
    return {
        name: float(np.std([np.log(value_of(sample, quantity) or np.nan) for sample in samples], ddof=1))
        for name, quantity in quantities.items()
    }


def _p50_ms(run: Record) -> float:
    found = run.counted()[0].summary.latency_ms
    return float("nan") if found is None else found.p50


def _began(run: Record) -> datetime:
    return datetime.fromisoformat(run.began)


def relabelled(runs: list[Record]) -> list[list[Pair]]:
    """The same runs, dealt to two sides at random, again and again: tries share runs."""
    dice = np.random.default_rng(1)
    half = min(RUNS, len(runs) // 2)
    orders = [dice.permutation(len(runs)).tolist() for _ in range(TRIES)]
    return [[(runs[a], runs[b]) for a, b in zip(order[:half], order[half:], strict=False)] for order in orders]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for the runs' records")
    parser.add_argument("--blocks", type=int, default=0, help="to measure now")
    parser.add_argument("--out", type=Path, help="where the figures go")
    options = parser.parse_args()
    if options.blocks:
        measure(options.folder, options.blocks)
    if options.out is None:
        return
    pairs = {other: pairs_of(options.folder, other) for other in SIDES[1:]}
    same = [run for pair in pairs["same"] for run in pair]
    slower = [_p50_ms(b) / _p50_ms(a) for a, b in pairs["slower"]]
    figures = {
        "kind": "load_compare",
        "load": {"users": 1, "seconds": SECONDS, "triton": f"fake, {DELAY_S * 1e3:g} ms"},
        "slower": {"of_predict": SLOWER, "p50_ratios": slower},
        "p50_ms": [_p50_ms(run) for run in same],
        "noise_between_runs": noise(same),
        "same_in_turns": tried([pairs["same"]]),
        "same_dealt_at_random": tried(relabelled(same)),
        "slower_in_turns": tried([pairs["slower"]]),
        "same_one_run_each": tried([[pair] for pair in pairs["same"]]),
        "slower_one_run_each": tried([[pair] for pair in pairs["slower"]]),
    }
    record.write(options.out, figures)


if __name__ == "__main__":
    main()
