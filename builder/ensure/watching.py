"""`--watch`: artefacts that arrive later. Nothing is asked but the folder, every few seconds."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from builder.ensure.artefacts import stamp_of
from builder.ensure.order import Outcome
from builder.ensure.run import Pass
from vision.errors import BuildError

EVERY_S = 3.0
FIRST_RETRY_S, LAST_RETRY_S = 60.0, 600.0
"""After a shortage of memory or disk: other failures wait for another artefact, or another start."""


@dataclass(slots=True)
class Watch:
    """Takes what is new once it is the same at two looks; what failed is left until it changes."""

    pass_of: Callable[[], Pass]
    """A pass on the machine as it is now."""
    every_s: float = EVERY_S
    parent: int | None = None
    """The process that this one is to end with."""
    _done: dict[str, object] = field(default_factory=dict)
    _retries: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each that was short of something is due again, and how long it waits after that."""
    _unloaded: dict[str, int | None] = field(default_factory=dict)
    """What Triton was not there to load, and the version that was served until then."""

    def begin(self, stamps: dict[str, object], outcomes: list[Outcome]) -> None:
        """What a first pass has done; `stamps` are those of before it."""
        self._done |= stamps
        for outcome in outcomes:
            self._note(outcome)

    def forever(self) -> None:
        """Until the parent ends, or an interrupt."""
        seen: dict[str, object] = {}
        while self.parent is None or os.getppid() == self.parent:
            seen = self.look(seen)
            time.sleep(self.every_s)

    def look(self, seen: dict[str, object]) -> dict[str, object]:
        """Look once, and do what is due; `seen` is what the last look found, and this one's comes back."""
        one = self.pass_of()
        stamps = dict(stamp_of(one.install.order.artefacts))
        now = time.monotonic()
        for name, stamp in stamps.items():
            is_new = self._done.get(name) != stamp and seen.get(name) == stamp
            if is_new or (name in self._retries and now >= self._retries[name][0]):
                self._done[name] = stamp
                try:
                    self._note(one.named(name))
                except BuildError:  # gone again
                    del self._done[name]
        for name in set(self._done) - set(stamps):
            del self._done[name]
        self._load(one)
        return stamps

    def _note(self, outcome: Outcome) -> None:
        _, wait = self._retries.pop(outcome.name, (0.0, FIRST_RETRY_S))
        if outcome.is_passing:
            self._retries[outcome.name] = (time.monotonic() + wait, min(2 * wait, LAST_RETRY_S))
        if outcome.is_waiting:
            self._unloaded[outcome.name] = outcome.before

    def _load(self, one: Pass) -> None:
        """Have Triton take what it was not there for, once it is."""
        for name, before in sorted(self._unloaded.items()):
            outcome = one.load(name, before)
            if outcome is None:
                return
            del self._unloaded[name]
            self._note(outcome)
