"""Servers while a run goes on: what they count, whether they are there, and whether they began anew."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from clients.triton.counters import Counters
from loadtest.sampling.collected import Collected
from loadtest.sampling.gateway import GAUGES, GatewayCounts
from loadtest.sampling.ticking import Ticking
from loadtest.target import Target
from loadtest.validity import Events

GONE_S = 3.0
"""Without an answer about its counts, a server is gone."""
SETTLE_S = 2.0
"""The longest that counts are waited for after the last answer: servers count once they have answered."""


@dataclass(frozen=True)
class Look:
    """One moment; None are servers that are not asked, or did not answer."""

    gateway: GatewayCounts | None = None
    triton: Mapping[str, Counters] | None = None


class Servers:
    """Looks every second, in a thread, and when it is asked to."""

    def __init__(self, target: Target, collected: Collected, events: Events, interval_s: float = 1.0) -> None:
        self._target, self._collected, self._events = target, collected, events
        self._heard_s = dict.fromkeys(("the gateway", "Triton"), time.monotonic())
        self.first = self.last = self.look()
        self._ticking = Ticking("servers", self._tick, interval_s)

    def look(self) -> Look:
        """What they count now."""
        gateway, tritons = self._target.gateway, self._target.tritons
        return Look(
            None if gateway is None else gateway.counts(),
            None if tritons is None else tritons.counters(self._target.versions),
        )

    def settled(self, came: Mapping[str, int]) -> Look:
        """What they count when they have counted so many answers of each model, or nothing more for a while."""
        until_s = time.monotonic() + SETTLE_S
        look = self.look()
        while time.monotonic() < until_s and not self._all_counted(look, came):
            time.sleep(0.1)
            look = self.look()
        return look

    def close(self) -> None:
        self._ticking.close()

    def answered(self, look: Look) -> dict[str, int]:
        """How many requests of the run's models each kind of server has answered well since the run began, by who."""
        told = {}
        if self.first.gateway is not None and look.gateway is not None:
            before, now = self.first.gateway.answered, look.gateway.answered
            told["the gateway"] = sum(now.get(model, 0) - before.get(model, 0) for model in self._target.versions)
        elif self.first.triton is not None and look.triton is not None and self._target.gateway is None:
            before_t, now_t = self.first.triton, look.triton
            told["Triton"] = sum(now_t[model].requests - before_t[model].requests for model in self._target.versions)
        return told

    def missing(self, look: Look) -> list[str]:
        """Who told its counts in the beginning, and not in this look."""
        first = self.first
        gone = {
            "the gateway": first.gateway is not None and look.gateway is None,
            "Triton": first.triton is not None and look.triton is None,
        }
        return [who for who, is_gone in gone.items() if is_gone]

    def _all_counted(self, look: Look, came: Mapping[str, int]) -> bool:
        return all(count >= sum(came.values()) for count in self.answered(look).values())

    def _tick(self) -> None:
        look, now_s = self.look(), time.monotonic()
        if self._target.gateway is not None:
            self._judge("the gateway", look.gateway is not None, now_s)
        if self._target.tritons is not None:
            self._judge("Triton", look.triton is not None, now_s)
        self._compare(look)
        self._write(look, now_s)
        self.last = Look(look.gateway or self.last.gateway, look.triton or self.last.triton)

    def _judge(self, who: str, heard: bool, now_s: float) -> None:
        if heard:
            self._heard_s[who] = now_s
        elif now_s - self._heard_s[who] >= GONE_S:
            self._events.add(f"{who} was gone: it told nothing for {GONE_S:g} s")

    def _compare(self, look: Look) -> None:
        last = self.last
        if look.gateway is not None and last.gateway is not None and look.gateway.requests < last.gateway.requests:
            self._events.add("the gateway was restarted: it counts anew")
        for model, now in (look.triton or {}).items():
            before = (self.last.triton or {}).get(model)
            if before is not None and now.requests < before.requests:
                self._events.add(f"Triton was restarted, or {model} loaded again: it counts anew")

    def _write(self, look: Look, now_s: float) -> None:
        add = self._collected.add
        if look.gateway is not None:
            for name, value in look.gateway.gauges.items():
                label, unit = GAUGES[name]
                add(label, unit, value, now_s)
        for model, now in (look.triton or {}).items():
            before = (self.last.triton or {}).get(model)
            news = None if before is None else now.since(before)
            if news is not None and news.requests:
                add(f"triton.queue.{model}", "ms", news.queue_s / news.requests * 1e3, now_s)
                add(f"triton.compute.{model}", "ms", news.compute_s / news.requests * 1e3, now_s)
                if news.executions:
                    add(f"triton.batch.{model}", "images", news.images / news.executions, now_s)


def figures_of(before: Look, after: Look, model: str) -> dict[str, float | None]:
    """`queue_ms`, `compute_ms` and `batch` of what was answered between two looks: Triton's, or else the gateway's."""
    if before.triton is not None and after.triton is not None:
        news = after.triton[model].since(before.triton[model])
        if news.requests:
            batch = round(news.images / news.executions, 3) if news.executions else None
            queue_ms, compute_ms = (seconds / news.requests * 1e3 for seconds in (news.queue_s, news.compute_s))
            return {"queue_ms": round(queue_ms, 4), "compute_ms": round(compute_ms, 4), "batch": batch}
    if before.gateway is not None and after.gateway is not None:
        return {
            "queue_ms": _rounded(after.gateway.mean_ms(before.gateway, model, "queue")),
            "compute_ms": _rounded(after.gateway.mean_ms(before.gateway, model, "compute")),
            "batch": None,
        }
    return {"queue_ms": None, "compute_ms": None, "batch": None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
