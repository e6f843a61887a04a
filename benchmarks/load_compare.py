"""How often `python -m loadtest compare` tells the same build apart, and whether it finds one that is a tenth slower.

    python -m benchmarks.load_compare --folder FOLDER --seconds 280   # the next tries; again, until all are done
    python -m benchmarks.load_compare --folder FOLDER --out FILE      # what comes of them

What is measured is fixed beforehand: one try of a gateway whose `Predictor.predict` holds up the event loop for a tenth
of the time that it took, then ten of two gateways that are the same, no try sharing a run with another. A try is what
docs/14-reports.md advises, six runs of each side in turns. One user asks; all gateways stand before a fake Triton that
takes 10 ms. Every run counts, but for those that `loadtest` itself calls invalid: they are made again, and counted.
The runs of the same build are also compared in single pairs, each with its neighbour.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from gateway.predictor import Prediction, Predictor
from loadtest.comparison import LATENCIES, Row, comparison_of
from loadtest.plan import plan_from_values
from loadtest.record import Record, read
from loadtest.run import run
from loadtest.statistics import Percentile, Quantity, Rate, Sample, value_of
from tests.fake_triton import FakeModel
from tests.gateway.serving import no_settings, running_fake, running_gateway
from tests.tiny_models import colour_contract

SLOWER = 0.1
"""Of the time that `predict` took, which is most of what the caller waits."""
DELAY_S = 0.010
SECONDS = 3
RUNS = 6
"""Of each side of a try."""
SAME_TRIES, SLOWER_TRIES = 10, 1
A, B = "a", "b"

Pair = tuple[Record, Record]


class SlowPredictor(Predictor):
    """Slower: it holds up the event loop, though not the interpreter, which the fake Triton needs, too."""

    async def predict(self, *arguments: Any, **options: Any) -> Prediction:
        began_s = time.perf_counter()
        found = await super().predict(*arguments, **options)
        time.sleep(SLOWER * (time.perf_counter() - began_s))  # noqa: ASYNC251 - on purpose
        return found


@dataclass(frozen=True)
class Try:
    """One comparison: its runs lie in `folder`/a and `folder`/b; B is the gateway called `other`."""

    folder: Path
    other: str

    def runs(self, side: str) -> list[Record]:
        """Valid ones, in order of time."""
        found = [read(path) for path in (self.folder / side).glob("*.json")]
        return sorted((each for each in found if each.is_valid), key=lambda each: each.began)

    def pairs(self) -> list[Pair]:
        """Neighbours in time."""
        return list(zip(self.runs(A), self.runs(B), strict=False))

    def invalid(self) -> int:
        return sum(not read(path).is_valid for path in self.folder.glob("*/*.json"))


def tries(folder: Path) -> list[Try]:
    """All that there are to be, in the order in which they are made."""
    slower = [Try(folder / f"slower-{number:02}", "slower") for number in range(1, SLOWER_TRIES + 1)]
    return slower + [Try(folder / f"same-{number:02}", "same") for number in range(1, SAME_TRIES + 1)]


@contextmanager
def gateways() -> Iterator[dict[str, str]]:
    """URLs by name."""
    with ExitStack() as stack:
        stack.enter_context(no_settings())
        fake = stack.enter_context(running_fake({"colour": FakeModel(colour_contract())}))
        fake.delay_s = DELAY_S
        running = {name: stack.enter_context(running_gateway(fake.address)) for name in (A, "same", "slower")}
        running["slower"].service.predictor.__class__ = SlowPredictor
        yield {name: gateway.url for name, gateway in running.items()}


def measure(folder: Path, seconds: float) -> bool:
    """Go on for about so long, to the end of a pair; whether all tries are done."""
    end_s = time.monotonic() + seconds
    with gateways() as urls:
        for one in tries(folder):
            while (done := min(len(one.runs(side)) for side in (A, B))) < RUNS:
                if time.monotonic() > end_s:
                    return False
                for side in (A, B) if done % 2 == 0 else (B, A):  # nobody is always first
                    while len(one.runs(side)) <= done:
                        _measure_one(urls[A if side == A else one.other], one.folder / side)
    return True


def _measure_one(url: str, folder: Path) -> None:
    plan = {
        "name": folder.parent.name,
        "host": url,
        "models": {"colour": 1},
        "images": "made:640x480x4",
        "stages": [{"users": 1, "seconds": SECONDS}],
        "warm_up": {"at_least_s": 0.5, "at_most_s": 0.5},
        "triton": "",
    }
    done = run(plan_from_values(plan), folder)
    print(folder.parent.name, folder.name, f"p50 {_p50_ms(done):.2f} ms", *done.invalid, flush=True)


def compared(drawn: Sequence[Sequence[Pair]]) -> dict[str, Any]:
    """What `compare` says of so many tries, each of some pairs."""
    found = [comparison_of([a for a, _ in pairs], [b for _, b in pairs]) for pairs in drawn]
    p50 = [next(row for row in one.rows if row.name == "p50") for one in found]
    return {
        "runs_of_each": len(drawn[0]),
        "verdicts": dict(Counter(one.verdict.value for one in found)),
        "told_apart": [
            [row.name for row in one.rows if row.counts and row.verdict != "not told apart"] for one in found
        ],
        "p50": [_interval(row) for row in p50],
        "p50_half_width": statistics.median((row.high - row.low) / 2 for row in p50),
    }


def _interval(row: Row) -> dict[str, float]:
    return {"low": row.low, "ratio": row.ratio, "high": row.high}


def noise(runs: Sequence[Record]) -> dict[str, float]:
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
    found = run.counted()[0].summary.latency_ms if run.counted() else None
    return float("nan") if found is None else found.p50


def figures_of(folder: Path) -> dict[str, Any]:
    """Of the tries that are whole."""
    everything = tries(folder)
    by_kind = {kind: [one for one in everything if one.other == kind] for kind in ("same", "slower")}
    pairs = {kind: [one.pairs() for one in some if len(one.pairs()) == RUNS] for kind, some in by_kind.items()}
    runs = [run for some in pairs["same"] for pair in some for run in pair]
    return {
        "kind": "load_compare",
        "load": {"users": 1, "seconds": SECONDS, "triton": f"fake, {DELAY_S * 1e3:g} ms"},
        "slower_by_of_predict": SLOWER,
        "invalid_runs_made_again": sum(one.invalid() for one in everything),
        "p50_ms": [_p50_ms(run) for run in runs],
        "noise_between_runs": noise(runs),
        "same": compared(pairs["same"]),
        "slower": compared(pairs["slower"]),
        "same_single_pairs": compared([[pair] for some in pairs["same"] for pair in some]),
        "slower_single_pairs": compared([[pair] for some in pairs["slower"] for pair in some]),
    }


def rows_of(figures: dict[str, Any]) -> Iterator[str]:
    """For docs/14-reports.md."""
    for name in ("same", "slower", "same_single_pairs", "slower_single_pairs"):
        found = figures[name]
        ratios = [one["ratio"] for one in found["p50"]]
        verdicts = ", ".join(f"{verdict} {count} of {len(ratios)}" for verdict, count in found["verdicts"].items())
        span = " to ".join(f"{ratio:.3f}" for ratio in dict.fromkeys((min(ratios), max(ratios))))
        yield f"| {name} | {found['runs_of_each']} | {verdicts} | {span}, ± {found['p50_half_width']:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the runs' records")
    parser.add_argument("--seconds", type=float, default=0.0, help="to measure now, about")
    parser.add_argument("--out", type=Path, help="where the figures go")
    options = parser.parse_args()
    if options.seconds:
        print("all tries are done" if measure(options.folder, options.seconds) else "there is more to measure")
    if options.out is not None:
        undone = [one.folder.name for one in tries(options.folder) if len(one.pairs()) < RUNS]
        if undone:
            parser.error(f"--seconds first: not all runs have been made of {', '.join(undone)}")
        figures = figures_of(options.folder)
        record.write(options.out, figures)
        print(*rows_of(figures), sep="\n")


if __name__ == "__main__":
    main()
