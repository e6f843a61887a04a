"""What may be tried: values of each setting, and a sample of their combinations that covers all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.tune.candidate import Candidate
from vision.serving import ServingSettings

QUEUE_DELAYS_US = (0, 500, 2000, 5000)
PERMITS = (4, 8, 16, 32, 64)
INSTANCES_ON_GPU = (1, 2, 3, 4)
MOST_INSTANCES = 8
CROWD = 2
"""Threads of all instances together, for each core: more only wait for each other."""

Value = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Space:
    """Values by setting. A setting with one value is not searched."""

    values: Mapping[str, tuple[Value, ...]]
    cores: int

    def sample(self, number: int, seed: int, known: Sequence[Candidate] = ()) -> list[Candidate]:
        """At most that many candidates that make sense, none of them `known`, each once; the same for the same seed.

        First those that are usually good; of the others every value of every setting stands in as many as any other, as
        far as they make sense together (a Latin hypercube: McKay, Beckman and Conover 1979).
        """
        random = np.random.default_rng(seed)
        usual = [each for each in self._usual(known) if each not in known and self._makes_sense(each)]
        found: dict[Candidate, None] = dict.fromkeys(usual[:number])
        for _ in range(50):
            columns = {name: self._column(random, values, number) for name, values in self.values.items()}
            for row in zip(*columns.values(), strict=True):
                candidate = candidate_of(dict(zip(columns, row, strict=True)))
                if len(found) < number and candidate not in known and self._makes_sense(candidate):
                    found.setdefault(candidate)
        return list(found)

    def _usual(self, known: Sequence[Candidate]) -> list[Candidate]:
        """One known candidate with two instances and batches of two; with an instance of one thread on every core."""
        usual: list[dict[str, Value]] = [
            {"instances": 2, "preferred_batch": (2,)}, {"instances": self.cores, "threads": 1},
        ]  # fmt: skip
        return [
            candidate_of(values_of(known[0]) | changes)
            for changes in usual
            if known and all(value in self.values[name] for name, value in changes.items())
        ]

    def near(self, candidate: Candidate) -> list[Candidate]:
        """Those that make sense and differ from it in one setting, by one step."""
        now = values_of(candidate)
        found = []
        for name, values in self.values.items():
            steps = sorted(values, key=lambda value: value if isinstance(value, tuple) else (value or 0,))
            place = steps.index(now[name]) if now[name] in steps else 0
            beside = [steps[step] for step in (place - 1, place + 1) if 0 <= step < len(steps)]
            found += [candidate_of(now | {name: step}) for step in beside if step != now[name]]
        return [each for each in found if self._makes_sense(each)]

    def _column(self, random: np.random.Generator, values: Sequence[Value], number: int) -> list[Value]:
        places = np.arange(number) % len(values)
        shift = int(random.integers(len(values)))  # or the first of them would be there once more than the last
        return [values[(place + shift) % len(values)] for place in random.permutation(places).tolist()]

    def _makes_sense(self, candidate: Candidate) -> bool:
        serving = candidate.serving
        crowd = (serving.instances or 1) * (serving.threads or self.cores)
        return serving.threads is None or serving.instances == 1 or crowd <= CROWD * self.cores

    @property
    def size(self) -> int:
        """How many combinations there are, sensible or not."""
        return int(np.prod([len(values) for values in self.values.values()]))

    def told(self) -> dict[str, list[Value]]:
        """What is searched, for people and records."""
        return {name: list(values) for name, values in self.values.items() if len(values) > 1}


def space_of(current: Candidate, *, max_batch: int, cores: int, users: int | None, gateway: bool) -> Space:
    """What may be tried of a model, around what is served now.

    Args:
        current: as it is served; a setting that the model does not have is None there, and is not searched.
        max_batch: of the model, in images.
        cores: of the machine that serves.
        users: of a closed loop, of whom no more than so many can be in one batch; None of an open loop.
        gateway: whether its settings may be changed. Permits matter only to an open loop.
    """
    on_gpu = current.serving.threads is None
    most = min(max(2, cores + 1), MOST_INSTANCES)
    values: dict[str, Sequence[Value]] = {
        "instances": INSTANCES_ON_GPU if on_gpu else range(1, most + 1),
        "threads": (0, *_doubling(cores)),
        "preferred_batch": tuple((size,) for size in _doubling(min(max_batch, users or max_batch)) if size > 1),
        "queue_delay_us": QUEUE_DELAYS_US,
        "workers": tuple(_doubling(min(cores, 8))) if gateway else (),
        "permits": PERMITS if gateway and users is None else (),
    }
    now = values_of(current)
    searched = {
        name: tuple(dict.fromkeys([now[name], *tried])) if now[name] is not None and tried else (now[name],)
        for name, tried in values.items()
    }
    return Space(searched, cores)


def candidate_of(values: Mapping[str, Value]) -> Candidate:
    """From a value of each setting."""
    serving = ServingSettings.of(**{name: values.get(name) for name in ServingSettings.model_fields})
    return Candidate.model_validate({"serving": serving, "workers": values["workers"], "permits": values["permits"]})


def values_of(candidate: Candidate) -> dict[str, Value]:
    """The value of each setting."""
    return dict(candidate.serving) | {"workers": candidate.workers, "permits": candidate.permits}


def _doubling(most: int) -> list[int]:
    """1, 2, 4, …, and `most` itself."""
    return sorted({most, *(1 << power for power in range(most.bit_length()))} - {0})
